//! Where in `passerby.toml` a key stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{SettingsError, SettingsErrors};

/// The text of a settings file under the name that errors have.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

/// A whole number that no value can be.
pub(super) struct TooLarge {
    /// The key that it stands under, with `[0]` behind that of a list.
    pub(super) key: String,
    span: Range<usize>,
}

impl Source {
    /// The whole numbers beyond 64 bits, which the parser that follows would refuse without a word of where they are.
    pub(super) fn too_large(&self) -> Vec<TooLarge> {
        let mut found = Vec::new();
        if let Ok(document) = DeTable::parse(&self.text) {
            document.get_ref().iter().for_each(|(name, value)| too_large(name.get_ref(), value, &mut found));
        }
        found
    }

    /// The text with nought in the place of each of these.
    pub(super) fn without(&self, numbers: &[TooLarge]) -> String {
        let mut text = self.text.clone();
        // the same length, so that all else keeps its place
        numbers.iter().for_each(|TooLarge { span, .. }| {
            text.replace_range(span.clone(), &format!("{:<1$}", 0, span.len()));
        });
        text
    }

    /// The error about one of these numbers.
    pub(super) fn fault(&self, number: &TooLarge) -> SettingsError {
        let found = self.text.get(number.span.clone()).unwrap_or_default();
        let reason = format!("{found} is beyond what a whole number can be (64 bits)");
        let place = Some(self.place(number.span.start));
        SettingsError { place, ..SettingsError::of_key(&self.name, &number.key, reason) }
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub(super) fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_begin = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_begin..].chars().count() + 1)
    }

    /// The file with the line in which a key stands, as far as the file has it.
    pub(super) fn name_of(&self, key: &str) -> String {
        let byte = DeTable::parse(&self.text).ok().and_then(|document| find(document.get_ref(), key));
        byte.map_or_else(|| self.name.clone(), |byte| format!("{}:{}", self.name, self.place(byte).0))
    }

    /// Says of each error about this file where it is, as exactly as the file has its key.
    pub(super) fn locate(&self, errors: &mut SettingsErrors) {
        let Ok(document) = DeTable::parse(&self.text) else { return };
        for error in errors.iter_mut().filter(|error| error.place.is_none() && error.origin == self.name) {
            let Some(key) = &error.key else { continue };
            error.place = find(document.get_ref(), key).map(|byte| self.place(byte));
        }
    }
}

fn too_large(key: &str, value: &Spanned<DeValue<'_>>, found: &mut Vec<TooLarge>) {
    match value.get_ref() {
        DeValue::Integer(number) if i64::from_str_radix(number.as_str(), number.radix()).is_err() => {
            found.push(TooLarge { key: key.to_owned(), span: value.span() });
        }
        DeValue::Table(table) => {
            table.iter().for_each(|(name, value)| too_large(&format!("{key}.{}", name.get_ref()), value, found));
        }
        DeValue::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| too_large(&format!("{key}[{at}]"), item, found));
        }
        _ => {}
    }
}

/// The byte at which the longest part of a dotted key stands that the table has.
fn find(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let begins = |name: &str| key.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    // a quoted name may have dots in it, so of two that fit the longer counts
    let fitting = table.iter().filter_map(|(name, value)| Some((name, value, begins(name.get_ref())?)));
    let (name, value, rest) = fitting.min_by_key(|(.., rest)| rest.len())?;
    Some(within(value, rest).unwrap_or(name.span().start))
}

/// The same behind a name: `.name` in a table, `[0]` in a list.
fn within(value: &Spanned<DeValue<'_>>, rest: &str) -> Option<usize> {
    match value.get_ref() {
        DeValue::Table(table) => find(table, rest.strip_prefix('.')?),
        DeValue::Array(items) => {
            let (number, rest) = rest.strip_prefix('[')?.split_once(']')?;
            let item = items.get(number.parse::<usize>().ok()?)?;
            Some(within(item, rest).unwrap_or(item.span().start))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_as_far_as_it_is_there() {
        let text = "listen = 1\n[provider.oidc.\"a.b\"]\n  issuer = \"ü\"\n  metadata_fields = [{ name = 1 },\n { nme = 2 }]\n";
        let source = Source { name: "f".to_owned(), text: text.to_owned() };
        let document = DeTable::parse(text).unwrap();
        for (key, place) in [
            ("listen", Some((1, 1))),
            ("provider.oidc.a.b.issuer", Some((3, 3))),
            ("provider.oidc.a.b.client_id", Some((2, 16))),
            ("provider.oidc.a.b.metadata_fields[1].nme", Some((5, 4))),
            ("provider.oidc.a.b.metadata_fields[1].x", Some((5, 2))),
            ("list", None),
            ("data_dir", None),
        ] {
            assert_eq!(find(document.get_ref(), key).map(|byte| source.place(byte)), place, "{key}");
        }
        let end_of_umlaut = text.find('ü').unwrap() + 'ü'.len_utf8();
        assert_eq!(source.place(end_of_umlaut), (3, 14), "columns count characters");
    }
}
