//! What is an address, and that none is shown.

use super::*;

#[test]
fn plain_addresses_are_taken_as_they_are() {
    for text in ["a@b.c", "First.Last+tag@Example.TEST", "o'brien@xn--bcher-kva.example", "root@localhost"] {
        let address = MailAddress::parse(text).unwrap();
        assert_eq!(address.as_str(), text);
        assert_eq!(Some(address.domain()), text.split('@').nth(1));
    }
    let longest = format!("{}@{}.example", "a".repeat(64), vec!["b".repeat(60); 2].join("."));
    assert!(MailAddress::parse(&longest).is_ok());
}

#[test]
fn whatever_could_become_a_header_a_command_or_a_second_receiver_is_refused() {
    let too_long_local = format!("{}@example.test", "a".repeat(65));
    let too_long = format!("a@{}", vec!["b".repeat(63); 4].join("."));
    let refused = [
        "",
        "@",
        "a",
        "a@",
        "@b.c",
        "a@b.c\r\nBcc: d@e.f",
        "a@b.c\n",
        "a\r\nDATA@b.c",
        " a@b.c",
        "a@b.c ",
        "a b@c.d",
        "a@b.c,d@e.f",
        "a@b.c;d@e.f",
        "<a@b.c>",
        "A <a@b.c>",
        "\"a b\"@c.d",
        "a@b@c.d",
        "a(comment)@b.c",
        "a@[127.0.0.1]",
        "a@b..c",
        ".a@b.c",
        "a.@b.c",
        "a..b@c.d",
        "a@-b.c",
        "a@b-.c",
        "a@b.c.",
        "a\0@b.c",
        "é@b.c",
        "a@bücher.example",
        "a@b.c\u{2028}",
        too_long_local.as_str(),
        too_long.as_str(),
    ];
    for text in refused {
        assert_eq!(MailAddress::parse(text), Err(AddressError), "{text:?}");
    }
}

#[test]
fn an_address_is_not_shown() {
    assert_eq!(format!("{:?}", MailAddress::parse("a@b.c").unwrap()), "MailAddress(..)");
}
