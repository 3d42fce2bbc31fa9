//! Where in `passerby.toml` a key stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SettingsErrors;

/// The text of a settings file under the name that errors have.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    /// Line and column of a byte, both from 1; columns count characters.
    pub(super) fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_begin = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_begin..].chars().count() + 1)
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
