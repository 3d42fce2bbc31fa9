//! `If-Match` and `If-None-Match` (RFC 9110 §13.1): a list of entity tags, or `*` alone. The library leaves out what it cannot read of
//! a list, which would make it a different condition.

use actix_web::HttpRequest;
use actix_web::http::header::{EntityTag, HeaderName};

/// What a precondition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`: any document.
    Any,
    /// These, at least one.
    Of(Vec<EntityTag>),
}

/// It is neither a list of entity tags nor `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoTags;

impl Tags {
    /// What a header of a request names; `None` if it is not there.
    ///
    /// # Errors
    /// [`NoTags`].
    pub(super) fn of(request: &HttpRequest, name: &HeaderName) -> Option<Result<Self, NoTags>> {
        // several lines are one list (RFC 9110 §5.3)
        let lines: Vec<_> =
            request.headers().get_all(name).map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        if lines.is_empty() { None } else { Some(Self::parse(&lines.join(","))) }
    }

    fn parse(text: &str) -> Result<Self, NoTags> {
        let (mut tags, mut is_any) = (Vec::new(), false);
        let mut is_quoted = false;
        // a tag may hold commas, and no quotes
        let items = text.split(|c| {
            is_quoted ^= c == '"';
            c == ',' && !is_quoted
        });
        // a list may have empty places (RFC 9110 §5.6.1.2)
        for item in items.map(|item| item.trim_matches([' ', '\t'])).filter(|item| !item.is_empty()) {
            if item == "*" && !is_any {
                is_any = true;
            } else {
                tags.push(item.parse().map_err(|_| NoTags)?);
            }
        }
        match (is_any, tags.is_empty()) {
            (true, true) => Ok(Self::Any),
            (false, false) => Ok(Self::Of(tags)),
            _ => Err(NoTags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_of_tags_or_a_star_and_nothing_of_it_is_passed_by() {
        let strong = |tag: &str| EntityTag::new_strong(tag.to_owned());
        let weak = |tag: &str| EntityTag::new_weak(tag.to_owned());
        for (text, tags) in [
            ("\"7\"", vec![strong("7")]),
            (" \"7\" ,W/\"8\",,\t\"\", ", vec![strong("7"), weak("8"), strong("")]),
            ("\"a,b\", \"*\"", vec![strong("a,b"), strong("*")]),
        ] {
            assert_eq!(Tags::parse(text), Ok(Tags::Of(tags)), "{text}");
        }
        assert_eq!(Tags::parse(" * "), Ok(Tags::Any));
        for text in [
            "",
            ",",
            "*, \"2\"",
            "\"2\", *",
            "*, *",
            "*,",
            "7",
            "7, \"8\"",
            "\"7",
            "\"7\" \"8\"",
            "w/\"7\"",
            "W/7",
            "**",
        ] {
            let expected = if text == "*," { Ok(Tags::Any) } else { Err(NoTags) };
            assert_eq!(Tags::parse(text), expected, "{text}");
        }
    }
}
