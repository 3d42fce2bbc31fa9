//! Tables for people: aligned, and fitted to the terminal's width without cutting what is to be copied.

use std::ops::Range;

use super::outcome::print;
use super::terminal::{clean, is_coloured, width};

/// A column of free text keeps at least so many characters.
const NARROWEST: usize = 12;
const GAP: &str = "  ";
/// Before the columns of a row that go on a line of their own.
const INDENT: &str = "    ";

/// How a cell looks where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// In passing.
    Dim,
    /// Well.
    Good,
    /// To be looked at.
    Bad,
    /// A heading.
    Bold,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Bold => "1",
        }
    }
}

/// A text and how it looks.
#[derive(Debug, Clone)]
pub(super) struct Cell(String, Tone);

impl Cell {
    pub(super) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self(clean(text.as_ref()), tone)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Rows under headings, or names and values.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
    /// The columns of free text, which may be cut.
    free: Vec<usize>,
    is_pairs: bool,
}

impl Table {
    pub(super) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let headings = headings.iter().map(|heading| Cell::new(heading, Tone::Bold)).collect();
        Self { rows: vec![headings], free: Vec::new(), is_pairs: false }
    }

    /// With these columns cut where the terminal is too narrow. No other is ever cut: ids, names and times are for copying.
    pub(super) fn cutting<const N: usize>(mut self, headings: [&str; N]) -> Self {
        let is_free = |cell: &Cell| headings.contains(&cell.0.as_str());
        self.free = self.rows[0].iter().enumerate().filter(|(_, cell)| is_free(cell)).map(|(at, _)| at).collect();
        self
    }

    /// Names and values, without headings; long values go on under themselves.
    pub(super) fn pairs() -> Self {
        Self { rows: Vec::new(), free: Vec::new(), is_pairs: true }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// A name and its value.
    pub(super) fn pair(&mut self, name: &str, value: impl Into<Cell>) {
        self.row([Cell::new(name, Tone::Dim), value.into()]);
    }

    pub(super) fn print(&self) {
        print(&self.text(width(), is_coloured()));
    }

    fn text(&self, most: Option<usize>, coloured: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(Cell::width).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns).map(widest).collect();
        if self.is_pairs {
            return self.rows.iter().map(|row| pair_lines(row, widths[0], most, coloured)).collect();
        }
        let lines = self.fit(&mut widths, most);
        let mut out = String::new();
        for row in &self.rows {
            for (at, columns) in lines.iter().enumerate() {
                let cells = row.iter().zip(&widths).skip(columns.start).take(columns.len());
                let cells = cells.map(|(cell, width)| cell.padded(*width, coloured)).collect::<Vec<_>>().join(GAP);
                let cells = cells.trim_end();
                if at == 0 || !cells.is_empty() {
                    out.push_str(if at == 0 { "" } else { INDENT });
                    out.push_str(cells);
                    out.push('\n');
                }
            }
        }
        out
    }

    /// Fits columns into a width: free text is cut, and if that is not enough, a row takes several lines. Returns the columns
    /// of each line.
    fn fit(&self, widths: &mut [usize], most: Option<usize>) -> Vec<Range<usize>> {
        let of_row = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        let most = most.unwrap_or(usize::MAX);
        let whole = widths.to_vec();
        while of_row(widths) > most {
            let free = self.free.iter().copied().filter(|at| widths[*at] > NARROWEST);
            let Some(widest) = free.max_by_key(|at| widths[*at]) else { break };
            widths[widest] -= 1;
        }
        if of_row(widths) <= most {
            return std::iter::once(0..widths.len()).collect();
        }
        widths.copy_from_slice(&whole);
        let room = most.saturating_sub(INDENT.len());
        for at in &self.free {
            widths[*at] = widths[*at].min(room.max(NARROWEST));
        }
        let mut lines = Vec::new();
        let mut start = 0;
        for at in 1..widths.len() {
            if of_row(&widths[start..=at]) > if start == 0 { most } else { room } {
                lines.push(start..at);
                start = at;
            }
        }
        lines.push(start..widths.len());
        lines
    }
}

/// A name, and its value broken between words.
fn pair_lines(row: &[Cell], name_width: usize, most: Option<usize>, coloured: bool) -> String {
    let [name, Cell(value, tone)] = row else { return String::new() };
    let indent = name_width + GAP.len();
    let room = most.map_or(usize::MAX, |most| most.saturating_sub(indent));
    let mut lines: Vec<String> = Vec::new();
    for word in value.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let mut out = name.padded(name_width, coloured) + GAP;
    for (at, line) in lines.into_iter().enumerate() {
        if at > 0 {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&Cell(line, *tone).padded(0, coloured));
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

impl Cell {
    fn width(&self) -> usize {
        self.0.chars().count()
    }

    /// Cut or filled to a width, and coloured; with a width of 0 as it is.
    fn padded(&self, width: usize, coloured: bool) -> String {
        let text = if width == 0 { self.0.clone() } else { cut(&self.0, width) };
        let padding = " ".repeat(width.saturating_sub(self.width()));
        match self.1 {
            Tone::Plain => text + &padding,
            tone if coloured => format!("\u{1b}[{}m{text}\u{1b}[0m{padding}", tone.code()),
            _ => text + &padding,
        }
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a22f77-2000-7000-8000-00000000000a";

    fn table() -> Table {
        let mut table = Table::new(["USER", "STATE", "REASON", "SEEN"]).cutting(["REASON"]);
        table.row([ID.into(), Cell::new("disabled", Tone::Bad), "much too much of it".into(), "2026-12-01".into()]);
        table.row(["ü".into(), "".into(), "".into(), "".into()]);
        table
    }

    #[test]
    fn only_free_text_is_cut_and_a_row_that_is_still_too_long_takes_several_lines() {
        let empty = " ".repeat(ID.len() - 4);
        let whole = table().text(None, false);
        assert_eq!(
            whole,
            format!(
                "USER{empty}  STATE     REASON               SEEN\n\
                 {ID}  disabled  much too much of it  2026-12-01\nü\n"
            )
        );
        assert_eq!(table().text(Some(79), false), whole);
        assert_eq!(
            table().text(Some(75), false),
            format!("USER{empty}  STATE     REASON           SEEN\n{ID}  disabled  much too much …  2026-12-01\nü\n")
        );
        assert_eq!(
            table().text(Some(50), false),
            format!(
                "USER{empty}  STATE\n    REASON               SEEN\n\
                 {ID}  disabled\n    much too much of it  2026-12-01\nü\n"
            )
        );
        // never to nothing, and an id stays whole even where it does not fit
        for most in 1..50 {
            let text = table().text(Some(most), false);
            assert!(text.contains(ID) && text.contains("2026-12-01") && text.contains("much too mu"), "{text}");
        }
    }

    #[test]
    fn long_values_go_on_under_themselves() {
        let mut pairs = Table::pairs();
        pairs.pair("user", ID);
        pairs.pair("session", format!("{ID} by anonymous, began 2026"));
        pairs.pair("reason", "");
        let whole = format!("user     {ID}\nsession  {ID} by anonymous, began 2026\nreason\n");
        assert_eq!(pairs.text(None, false), whole);
        assert_eq!(pairs.text(Some(200), false), whole);
        let narrow = format!("user     {ID}\nsession  {ID} by\n         anonymous, began 2026\nreason\n");
        assert_eq!(pairs.text(Some(50), false), narrow);
    }

    #[test]
    fn colours_change_no_width() {
        let text = table().text(None, true);
        assert!(text.contains(&format!("{ID}  \u{1b}[31mdisabled\u{1b}[0m  much")), "{text:?}");
        assert!(text.starts_with("\u{1b}[1mUSER\u{1b}[0m          "), "{text:?}");
        let mut pairs = Table::pairs();
        pairs.pair("state", Cell::new("disabled since then", Tone::Bad));
        assert_eq!(
            pairs.text(Some(20), true),
            "\u{1b}[2mstate\u{1b}[0m  \u{1b}[31mdisabled\u{1b}[0m\n       \u{1b}[31msince then\u{1b}[0m\n"
        );
    }
}
