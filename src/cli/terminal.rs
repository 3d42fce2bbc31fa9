//! What a person at a terminal sees: how wide it is, colours, questions.

use std::ffi::OsStr;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::tcgetwinsize;

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

/// Without what would move the cursor or turn the text round: what users and clients wrote is among it.
pub(super) fn clean(text: &str) -> String {
    let is_harmless = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// Asks whether to do something that cannot be taken back. Who said yes before is not asked.
///
/// # Errors
/// The answer is no, or there is no terminal to ask on.
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    can_ask(yes)?;
    if yes {
        return Ok(());
    }
    let input = std::io::stdin();
    let mut out = std::io::stderr();
    drop(write!(out, "{what}. Go on? [y/N] ").and_then(|()| out.flush()));
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(Failure::other)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::other("nothing was done")) }
}

/// Whether [`confirm`] can ask, before anything is done for it.
///
/// # Errors
/// There is no terminal to ask on.
pub(super) fn can_ask(yes: bool) -> Result<(), Failure> {
    if yes || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage("this cannot be taken back, and there is no terminal to ask on: say --yes"))
}

/// The first line of standard input, for what must not stand in the list of processes.
pub(super) fn first_line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
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
    }
}
