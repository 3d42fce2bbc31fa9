//! "Did you mean": the name that is nearest to one that does not exist.

/// What is said of a setting that does not exist.
pub(super) fn no_such(key: &str, known: impl IntoIterator<Item = String>) -> String {
    match nearest_key(key, known) {
        Some(meant) => format!("there is no such setting: did you mean {meant}?"),
        None => "there is no such setting, see `passerby config --explain`".to_owned(),
    }
}

/// The key that is meant: one of its section with a similar spelling, or the only one of that name in a different section.
fn nearest_key(key: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    fn split(key: &str) -> (&str, &str) {
        key.rsplit_once('.').unwrap_or(("", key))
    }
    let known: Vec<String> = known.into_iter().collect();
    let (section, name) = split(key);
    let beside = known.iter().map(|known| split(known)).filter(|(of, _)| *of == section).map(|(_, name)| name);
    if let Some(found) = nearest(name, beside) {
        return Some(if section.is_empty() { found.to_owned() } else { format!("{section}.{found}") });
    }
    let mut of_that_name = known.iter().filter(|known| split(known).1 == name);
    let found = of_that_name.next()?;
    of_that_name.next().is_none().then(|| found.clone())
}

/// The name among `known` that a mistyped one is most like, if any is like it: for every three characters one may be wrong,
/// missing, too many or swapped with the next. Letters' case and `-` for `_` do not count.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(found);
    let distance = |name: &str| strsim::damerau_levenshtein(&wanted, &plain(name));
    let nearest = known.into_iter().map(|name| (distance(name), name)).min_by_key(|(distance, _)| *distance);
    nearest.filter(|(distance, _)| *distance <= wanted.chars().count() / 3).map(|(_, name)| name)
}

/// ` (did you mean "name"?)`, or nothing.
pub(crate) fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(found, known).map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_strange_one_is_not() {
        let known =
            ["listen", "admin_listen", "http.max_body", "http.keep_alive", "data.max_bytes", "a.name", "b.name"];
        let meant = |key: &str| nearest_key(key, known.map(str::to_owned));
        for (key, expected) in [
            ("lisen", Some("listen")),
            ("LISTEN", Some("listen")),
            ("admin-listen", Some("admin_listen")),
            ("max_body", Some("http.max_body")),
            ("http.keepalive", Some("http.keep_alive")),
            ("http.maxbody", Some("http.max_body")),
            ("http.once", None),
            ("name", None),
            ("something_else", None),
            ("", None),
        ] {
            assert_eq!(meant(key).as_deref(), expected, "{key}");
        }
        assert_eq!(did_you_mean("anon_user", ["anon-user", "api-key"]), " (did you mean \"anon-user\"?)");
        assert_eq!(did_you_mean("saml", ["anon-user", "api-key"]), "");
    }
}
