//! What parsing a JSON text would lose without a word: numbers that cannot be kept as they are written (whole ones of 2^64 and more,
//! and decimals with more digits than 64 bits hold), which are rounded, and all but one of the members of an object that have the
//! same name.
//!
//! Both are looked for in the text, in one go, before it is parsed.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Deeper than any parser goes; what is deeper is refused by it.
const DEEPEST: usize = 512;

/// What parsing a text would lose: the first of each kind, as a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Losses {
    /// A number that would be rounded.
    pub rounded: Option<String>,
    /// A member whose name occurs twice in its object (RFC 8259 §4: parsers differ in which of them counts).
    pub twice: Option<String>,
}

/// What parsing a text would lose. The time and the room that it takes grow with the text, but for sorting the names of an object.
/// Text that is no JSON is for the parser to refuse.
pub fn losses(json: &str) -> Losses {
    let mut scanner = Scanner { json, at: 0, places: Vec::new(), names: Vec::new(), found: Losses::default() };
    // it stops early where the text ends too soon
    let _whole = scanner.run();
    scanner.found
}

/// Where a number is that cannot be kept exactly, as a JSON pointer (RFC 6901). Text that is no JSON is for the parser to refuse.
pub fn inexact_number(json: &str) -> Option<String> {
    losses(json).rounded
}

/// Names of an operation of a JSON patch (RFC 6902 §4).
const OF_OPERATION: usize = 4;

/// Whether the objects of a JSON text have more members than `most` in all. Those of a JSON patch's own operations do not count.
/// Told by looking at the text alone, because it is reading many members that takes long.
pub fn has_more_members(json: &str, most: usize) -> bool {
    let bytes = json.as_bytes();
    let is_patch = json.trim_start().starts_with('[');
    let (mut at, mut depth, mut members, mut of_operation) = (0, 0_usize, 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => {
                depth += 1;
                if depth == 2 {
                    of_operation = 0;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if is_patch && depth == 2 && of_operation < OF_OPERATION => of_operation += 1,
            b':' => {
                members += 1;
                if members > most {
                    return true;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// An object or array that is open, and where in it the scanner is.
enum Place {
    /// An object, whose names begin here among all; it is at the last of them, if there is one.
    Object(usize),
    /// At this item of an array.
    Item(usize),
}

struct Scanner<'a> {
    json: &'a str,
    at: usize,
    places: Vec<Place>,
    /// Of the members so far of all objects that are open: those of the innermost are the last.
    names: Vec<Cow<'a, str>>,
    found: Losses,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        let mut text = "";
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => text = self.text()?,
                b':' => {
                    if let Some(Place::Object(_)) = self.places.last() {
                        self.names.push(unescaped(text));
                    }
                    self.at += 1;
                }
                b'{' | b'[' => {
                    if self.places.len() >= DEEPEST {
                        return None;
                    }
                    self.places.push(if *byte == b'{' { Place::Object(self.names.len()) } else { Place::Item(0) });
                    self.at += 1;
                }
                b'}' | b']' => {
                    if let Some(Place::Object(first)) = self.places.pop() {
                        self.close(first);
                    }
                    self.at += 1;
                }
                b',' => {
                    if let Some(Place::Item(number)) = self.places.last_mut() {
                        *number += 1;
                    }
                    self.at += 1;
                }
                b'-' | b'0'..=b'9' => {
                    let number = self.number();
                    if self.found.rounded.is_none() && !is_exact(number) {
                        self.found.rounded = Some(self.pointer());
                    }
                }
                _ => self.at += 1,
            }
        }
        Some(())
    }

    /// An object ends whose names begin here: looks for one that occurs twice, and drops them.
    fn close(&mut self, first: usize) {
        if self.found.twice.is_none() {
            self.names[first..].sort_unstable();
            let twins = self.names[first..].windows(2).find(|pair| pair[0] == pair[1]);
            if let Some(name) = twins.map(|pair| pair[0].clone()) {
                self.names.truncate(first);
                self.found.twice = Some(self.pointer() + &token(&name));
            }
        }
        self.names.truncate(first);
    }

    /// The text that begins here, without its quotes and as it is written.
    fn text(&mut self) -> Option<&'a str> {
        let bytes = self.json.as_bytes();
        let begin = self.at + 1;
        self.at = begin;
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let text = self.json.get(begin..self.at)?;
        self.at += 1;
        Some(text)
    }

    fn number(&mut self) -> &'a str {
        let rest = &self.json.as_bytes()[self.at..];
        let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        let number = &self.json[self.at..self.at + length];
        self.at += length;
        number
    }

    /// Where the scanner is.
    fn pointer(&self) -> String {
        let mut pointer = String::new();
        // the names of an object end where those of the next one in it begin
        let firsts =
            self.places.iter().filter_map(|place| if let Place::Object(first) = place { Some(*first) } else { None });
        let mut ends = firsts.skip(1).chain([self.names.len()]);
        for place in &self.places {
            match place {
                Place::Object(first) => {
                    let end = ends.next().unwrap_or(*first);
                    pointer.extend(self.names.get(*first..end).and_then(<[_]>::last).map(|name| token(name)));
                }
                Place::Item(number) => drop(write!(pointer, "/{number}")),
            }
        }
        pointer
    }
}

/// A name without its escapes, so that each has one spelling.
fn unescaped(name: &str) -> Cow<'_, str> {
    if !name.contains('\\') {
        return name.into();
    }
    serde_json::from_str(&format!("\"{name}\"")).map_or(name.into(), Cow::<str>::Owned)
}

/// A name as a part of a JSON pointer.
fn token(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Whether a number is read back as the number that it is, however many zeros it is written with. What is no number is for the parser.
fn is_exact(number: &str) -> bool {
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        // 18 digits are within 63 bits
        return digits <= 18 || number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    // 15 digits are within 53 bits
    if digits <= 15 && !number.contains(['e', 'E']) {
        return true;
    }
    let Ok(value) = number.parse::<f64>() else { return true };
    let mut shortest = Text { bytes: [0; 32], length: 0 };
    let is_written = value.is_finite() && write!(shortest, "{value:e}").is_ok();
    is_written && Decimal::of(number.as_bytes()).is_some_and(|decimal| Some(decimal) == Decimal::of(shortest.written()))
}

/// The shortest text of a number, which has at most 24 bytes.
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Text {
    fn written(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

/// The shortest text of a number of 64 bits has no more digits.
const MOST_DIGITS: usize = 17;

/// A number without its sign: the digits without zeros around them, and the power of ten of the first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decimal {
    digits: [u8; MOST_DIGITS],
    length: usize,
    exponent: i64,
}

impl Decimal {
    /// `None` if there are more digits than any number of 64 bits has.
    fn of(number: &[u8]) -> Option<Self> {
        let end = number.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(number.len());
        let mut decimal = Self::default();
        let (mut zeros, mut is_whole) = (0, true);
        for byte in &number[..end] {
            match byte {
                b'.' => is_whole = false,
                b'0' => {
                    decimal.exponent +=
                        if is_whole { i64::from(decimal.length > 0) } else { -i64::from(decimal.length == 0) };
                    zeros += usize::from(decimal.length > 0);
                }
                b'1'..=b'9' => {
                    decimal.exponent += i64::from(is_whole);
                    *decimal.digits.get_mut(decimal.length + zeros)? = *byte;
                    decimal.digits[decimal.length..decimal.length + zeros].fill(b'0');
                    decimal.length += zeros + 1;
                    zeros = 0;
                }
                _ => {}
            }
        }
        if decimal.length == 0 {
            return Some(Self::default());
        }
        let written = std::str::from_utf8(number.get(end + 1..).unwrap_or_default()).unwrap_or_default();
        let written = written.trim_start_matches('+');
        // beyond all measure, and so is what it is compared with not
        decimal.exponent += if written.is_empty() { 0 } else { written.parse().unwrap_or(i64::MAX / 2) };
        Some(decimal)
    }
}

#[cfg(test)]
mod tests;
