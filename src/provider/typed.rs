//! What people type, in the one form that is kept: the same letter may be one code point or two, as the keyboard has it.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

/// The text in NFC.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() { Cow::Borrowed(text) } else { ComposingNormalizerBorrowed::new_nfc().normalize(text) }
}

/// A password as it is compared: each space is U+0020, and the rest in NFC (OpaqueString, RFC 8265 §4.2.2; NIST SP 800-63B-4
/// §3.1.1.2). Nothing is refused, unlike there: App Services took any text.
pub(super) fn password(text: &str) -> Cow<'_, str> {
    // Unicode's category Zs
    let other_space =
        |c: char| matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}');
    if text.contains(other_space) {
        Cow::Owned(composed(&text.replace(other_space, " ")).into_owned())
    } else {
        composed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_one_form() {
        for (typed, kept) in [
            ("plain ASCII \u{7f}", "plain ASCII \u{7f}"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("cafe\u{301}", "caf\u{e9}"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            ("\u{212b}", "\u{c5}"),
            ("a\u{323}\u{307}", "\u{1ea1}\u{307}"),
            // compatibility characters stay what they are, in NFC
            ("\u{fb01}\u{ff41}", "\u{fb01}\u{ff41}"),
        ] {
            assert_eq!(composed(typed), kept, "{typed:?}");
            assert_eq!(password(typed), kept, "{typed:?}");
        }
        assert_eq!(composed("a\u{a0}b\u{3000}c"), "a\u{a0}b\u{3000}c");
        assert_eq!(password("a\u{a0}b\u{3000}c\u{2001}e\u{301}"), "a b c \u{e9}");
    }
}
