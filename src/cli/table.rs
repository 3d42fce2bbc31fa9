//! Tables for people: aligned, and cut to the terminal's width.

use super::outcome::print;
use super::terminal::{clean, is_coloured, width};

/// Columns have at least so many characters before the terminal cuts them.
const NARROWEST: usize = 6;
const GAP: &str = "  ";

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

/// Rows under headings.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| Cell::new(heading, Tone::Bold)).collect()] }
    }

    /// Names and values, without headings.
    pub(super) fn pairs() -> Self {
        Self { rows: Vec::new() }
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
        let length = |cell: &Cell| cell.0.chars().count();
        let widest = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(length).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns).map(widest).collect();
        if let Some(most) = most {
            let gaps = GAP.len() * columns.saturating_sub(1);
            while widths.iter().sum::<usize>() + gaps > most {
                let Some(widest) = widths.iter_mut().max().filter(|width| **width > NARROWEST) else { break };
                *widest -= 1;
            }
        }
        let line = |row: &Vec<Cell>| {
            let cells = row.iter().zip(&widths).map(|(Cell(text, tone), width)| {
                let text = cut(text, *width);
                let padding = width - text.chars().count();
                let text = match tone {
                    Tone::Plain => text,
                    tone if coloured => format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()),
                    _ => text,
                };
                text + &" ".repeat(padding)
            });
            cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned() + "\n"
        };
        self.rows.iter().map(line).collect()
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

    fn table() -> Table {
        let mut table = Table::new(["USER", "STATE"]);
        table.row(["0123456789".into(), Cell::new("disabled", Tone::Bad)]);
        table.row(["ü".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_cut_to_the_width_the_widest_first() {
        assert_eq!(table().text(None, false), "USER        STATE\n0123456789  disabled\nü\n");
        assert_eq!(table().text(Some(16), false), "USER     STATE\n012345…  disabl…\nü\n");
        // never to nothing
        assert_eq!(table().text(Some(1), false), "USER    STATE\n01234…  disab…\nü\n");
    }

    #[test]
    fn colours_change_no_width() {
        let text = table().text(None, true);
        assert!(text.contains("0123456789  \u{1b}[31mdisabled\u{1b}[0m\n"), "{text:?}");
        assert!(text.starts_with("\u{1b}[1mUSER\u{1b}[0m        \u{1b}[1mSTATE\u{1b}[0m\n"), "{text:?}");
    }
}
