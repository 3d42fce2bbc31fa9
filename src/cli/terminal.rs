//! What a person at a terminal sees: how wide it is, colours, questions.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};

use super::outcome::Failure;

/// Columns of standard output; none where it is no terminal, and nothing is cut.
pub(super) fn width() -> Option<usize> {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| tcgetwinsize(&out).ok()).flatten()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// Whether standard output takes colours: a terminal, unless `NO_COLOR` has a value (no-color.org) or it is a dumb one.
pub(super) fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && wants_colour(std::env::var_os("NO_COLOR"), std::env::var_os("TERM"))
}

fn wants_colour(no_colour: Option<impl AsRef<OsStr>>, terminal: Option<impl AsRef<OsStr>>) -> bool {
    no_colour.is_none_or(|value| value.as_ref().is_empty()) && terminal.is_none_or(|name| name.as_ref() != "dumb")
}

/// Whether a character neither moves the cursor nor turns the text round: what users and clients wrote is among what is shown.
fn is_harmless(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}

/// A text as it may stand on a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// JSON as it may stand on a terminal, which is the same JSON: raw, such characters are in its texts alone, but for line breaks.
pub(super) fn clean_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match is_harmless(c) || c == '\n' {
            true => out.push(c),
            // a String takes whatever is written
            false => drop(write!(out, "\\u{:04x}", u32::from(c))),
        }
    }
    out
}

/// Asks whether to do it. Who said yes before is not asked.
///
/// # Errors
/// The answer is no, or there is no terminal to ask on.
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    can_ask(yes)?;
    if yes {
        return Ok(());
    }
    ask(&format!("{what}. Go on? [y/N] "));
    let line = first_line().map_err(Failure::other)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::other("nothing was done")) }
}

/// Whether [`confirm`] can ask, before anything is done for it.
///
/// # Errors
/// There is no terminal to ask on.
pub(super) fn can_ask(yes: bool) -> Result<(), Failure> {
    if yes || (std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(());
    }
    Err(Failure::usage("there is no terminal to ask on whether to do this: say --yes to do it unasked"))
}

fn ask(question: &str) {
    let mut out = std::io::stderr();
    drop(out.write_all(question.as_bytes()).and_then(|()| out.flush()));
}

/// The first line of standard input, for what must not stand in the list of processes.
pub(super) fn first_line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// A password: typed twice and not shown, or the first line of standard input.
///
/// # Errors
/// Standard input cannot be read, or the two are not the same.
pub(super) fn password() -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return first_line().map_err(Failure::other);
    }
    let (one, other) = (secret("Password: ")?, secret("Again: ")?);
    if one == other { Ok(one) } else { Err(Failure::usage("the two passwords are not the same")) }
}

/// A line that is not shown while it is typed; without a terminal, the first one of standard input.
///
/// # Errors
/// Standard input cannot be read.
pub(super) fn secret(prompt: &str) -> Result<String, Failure> {
    let terminal = std::io::stdin();
    if !terminal.is_terminal() {
        return first_line().map_err(Failure::other);
    }
    let before = tcgetattr(&terminal).map_err(Failure::other)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(Failure::other)?;
    // not before: whoever answers at once would be shown, or lost
    ask(prompt);
    let line = first_line();
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &before);
    ask("\n");
    restored.map_err(Failure::other)?;
    line.map_err(Failure::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_dumb_terminals_take_none() {
        let wants = |no_colour: Option<&str>, terminal: Option<&str>| wants_colour(no_colour, terminal);
        assert!(wants(None, None) && wants(None, Some("xterm")) && wants(Some(""), Some("xterm")));
        assert!(!wants(Some("1"), Some("xterm")) && !wants(None, Some("dumb")));
    }

    #[test]
    fn what_would_move_the_cursor_is_not_written() {
        assert_eq!(clean("a\u{1b}[2Jb\u{202e}c\nü"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}ü");
        let value = serde_json::json!({ "a": "\u{9b}2J\u{7f}\u{202e}\u{200f}ü\n" });
        let lines = format!("{value}\n{value}\n");
        let cleaned = clean_json(&lines);
        assert!(cleaned.starts_with(r#"{"a":"\u009b2J\u007f\u202e\u200fü\n"}"#), "{cleaned}");
        assert!(
            cleaned.lines().count() == 2
                && cleaned.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).unwrap() == value)
        );
    }
}
