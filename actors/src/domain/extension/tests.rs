//! The bytes of an extension record.

use super::*;
use crate::domain::{LoginMethod, Predecessor, Session, SessionKind};

/// With what every version before the methods of sessions knew.
fn before() -> Extension {
    Extension {
        sessions: Some(Sessions {
            highest: 3,
            list: vec![Session {
                number: 3,
                kind: SessionKind::V1,
                method: LoginMethod::Unknown,
                started: 7,
                seen: 11,
                epoch: 1,
                refresh_counter: 9,
                device: DeviceId([5; 12]),
                anonymous_at_start: true,
                replaces: None,
            }],
        }),
        identities: vec![Identity {
            key: IdentityKey { provider: "p".into(), external: "é".into() },
            linked: 8,
            data: "{}".into(),
        }],
        created_ms: Some(1),
        api_keys: vec![ApiKey { id: DeviceId([6; 12]), hash: [7; 32], created: 12, disabled: true, name: "k".into() }],
        aliases: vec![Alias { id: UserId::from_bytes([8; 16]), merged: 13 }],
        suspension: None,
        unknown: BTreeMap::from([(900, vec![1, 2].into())]),
    }
}

#[test]
fn the_bytes_are_as_they_always_were() {
    #[rustfmt::skip]
        let golden: &[u8] = &[
            1,
            0, 1, 0, 0, 0, 29, 0, 0, 0, 3,
            0, 0, 0, 3, 2, 0, 0, 0, 7, 1, 0, 9, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 1,
            0, 2, 0, 0, 0, 15, 0, 0, 0, 1, b'p', 0, 0, 0, 2, 0xc3, 0xa9, 0, 0, 0, 8,
            0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1,
            0, 4, 0, 0, 0, 6, 0, 0, 0, 2, b'{', b'}',
            0, 5, 0, 0, 0, 54, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
            7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
            0, 0, 0, 12, 1, 0, 0, 0, 1, b'k',
            0, 6, 0, 0, 0, 20, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 13,
            0, 7, 0, 0, 0, 4, 0, 0, 0, 11,
            3, 132, 0, 0, 0, 2, 1, 2,
        ];
    assert_eq!(&*before().encode(), golden);
    assert_eq!(Extension::decode(golden), Ok(before()), "sections of later versions are kept too");
    let without_seen = Extension::decode(&golden[..169]).unwrap();
    assert_eq!(without_seen.sessions.unwrap().list[0].seen, 7, "before it was written, only the start is known");
}

#[test]
fn the_bytes_of_what_was_said_of_a_disabled_user_are_as_they_always_were() {
    let of = |until_ms, reason: &str| Extension {
        suspension: Some(Suspension { until_ms, reason: reason.into() }),
        ..Extension::default()
    };
    for (extension, section) in [
        (of(Some(259), "é"), &[0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 2, 0xc3, 0xa9][..]),
        (of(None, "x"), &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'x']),
    ] {
        let length = u8::try_from(section.len()).unwrap();
        let golden = [&[1, 0, 11, 0, 0, 0, length][..], section].concat();
        assert_eq!(*extension.encode(), *golden);
        assert_eq!(Extension::decode(&golden), Ok(extension));
        assert_eq!(Extension::decode(&golden[..golden.len() - 1]), Err(DecodeError));
    }
}

/// A session with all its fields, and one that an earlier version began.
fn sessions() -> Sessions {
    let known = before().sessions.unwrap_or_default().list.remove(0);
    let replaces = Some(Predecessor { user: UserId::from_bytes([9; 16]), number: 2, at: 10 });
    let method = LoginMethod::ApiKey(DeviceId([6; 12]));
    let by_key = Session { number: 4, method, refresh_counter: 0x0007_0009, replaces, ..known.clone() };
    Sessions { highest: 4, list: vec![known, by_key] }
}

#[test]
fn what_began_a_session_is_kept_with_it() {
    let extension = Extension { sessions: Some(sessions()), ..Extension::default() };
    #[rustfmt::skip]
        let golden: &[u8] = &[
            1,
            0, 1, 0, 0, 0, 54, 0, 0, 0, 4,
            0, 0, 0, 3, 2, 0, 0, 0, 7, 1, 0, 9, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 1,
            0, 0, 0, 4, 2, 0, 0, 0, 7, 1, 0, 9, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 1,
            0, 7, 0, 0, 0, 8, 0, 0, 0, 11, 0, 0, 0, 11,
            0, 8, 0, 0, 0, 17, 0, 0, 0, 4, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
            0, 9, 0, 0, 0, 28, 0, 0, 0, 4, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 2, 0, 0, 0, 10,
            0, 10, 0, 0, 0, 6, 0, 0, 0, 4, 0, 7,
        ];
    assert_eq!(&*extension.encode(), golden);
    assert_eq!(Extension::decode(golden), Ok(extension));
    let unknown_method = [&golden[..85], &[200], &golden[86..]].concat();
    assert_eq!(golden[85], 6);
    assert_eq!(Extension::decode(&unknown_method), Err(DecodeError), "its rights are not guessed");
}

/// An older version keeps the sections that it does not know, while it ends sessions and begins others.
#[test]
fn what_began_a_session_is_never_said_of_another_one() {
    let mut changed = sessions();
    changed.list[1].number = 5;
    let stale = Extension { sessions: Some(sessions()), ..Extension::default() }.encode();
    let sections = [
        [&[1, 0, 1][..], &(changed.encode().len() as u32).to_be_bytes(), &changed.encode()].concat(),
        stale[stale.len() - 69..].to_vec(),
    ];
    let read = Extension::decode(&sections.concat()).unwrap().sessions.unwrap();
    let other = &read.list[1];
    assert_eq!((other.number, other.method, other.replaces), (5, LoginMethod::Unknown, None));
    assert_eq!(other.refresh_counter, 9);
}

#[test]
fn every_method_is_read_as_it_was_written() {
    let methods = [
        LoginMethod::Anonymous,
        LoginMethod::Password,
        LoginMethod::CustomToken,
        LoginMethod::IdToken,
        LoginMethod::Browser,
        LoginMethod::ApiKey(DeviceId([1; 12])),
        LoginMethod::Transfer,
        LoginMethod::Link,
        LoginMethod::Merge,
        LoginMethod::Unknown,
    ];
    let session = sessions().list.remove(0);
    let list = (1..).zip(methods).map(|(number, method)| Session { number, method, ..session.clone() });
    let extension =
        Extension { sessions: Some(Sessions { highest: 10, list: list.collect() }), ..Extension::default() };
    assert_eq!(Extension::decode(&extension.encode()), Ok(extension));
}

#[test]
fn cut_bytes_are_an_error_and_never_a_panic() {
    let bytes = before().encode();
    let whole_sections = [1, 36, 57, 71, 83, 143, 169, 179];
    for n in 0..bytes.len() {
        assert_eq!(Extension::decode(&bytes[..n]).is_ok(), whole_sections.contains(&n), "{n}");
    }
}
