//! Names, passwords and tokens, and the bytes of a credential.

use super::*;

const TOKEN: MailToken = MailToken { hash: [3; 32], expires: 200 };

fn register(confirm: Option<MailToken>, over_pending: bool) -> CredentialChange {
    CredentialChange::Register { name: "a@b".into(), password: "h".into(), confirm, over_pending }
}

fn pending() -> Credential {
    Credential::decide(None, &register(Some(TOKEN), false), 100).unwrap()
}

#[test]
fn the_bytes_are_as_they_always_were() {
    let credential = Credential { reset: Some(MailToken { hash: [4; 32], expires: 300 }), ..pending() };
    let mut golden = vec![1, 2, 0, 0, 0, 100, 0, 0, 0, 3, b'a', b'@', b'b', 0, 0, 0, 1, b'h'];
    golden.extend([4; 32]);
    golden.extend([0, 0, 1, 44]);
    let without_mails = golden.len();
    golden.extend([3; 32]);
    golden.extend([0, 0, 0, 200, 0, 0, 0, 1, b'h']);
    assert_eq!(&*credential.encode(), golden);
    assert_eq!(Credential::decode(&golden), Ok(credential));
    for n in 0..golden.len() {
        assert_eq!(Credential::decode(&golden[..n]).is_ok(), n == without_mails, "{n}");
    }
    golden.push(0);
    assert_eq!(Credential::decode(&golden), Err(UnreadableCredential));
    assert_eq!(&*Credential::identity("a@b").external, "de804001578e4f1ab31f4179");
}

#[test]
fn a_token_works_once_within_its_time_and_only_the_last_one_counts() {
    let confirm = CredentialChange::Confirm(TOKEN.hash);
    let decide =
        |current: &Credential, change: &CredentialChange, now| Credential::decide(Some(current.clone()), change, now);
    assert_eq!(decide(&pending(), &confirm, 200), Err(CredentialRefusal::ExpiredToken));
    let confirmed = decide(&pending(), &confirm, 199).unwrap();
    assert!(confirmed.confirmed);
    assert_eq!(decide(&confirmed, &confirm, 199), Err(CredentialRefusal::BadToken));
    let newer = MailToken { hash: [9; 32], expires: 500 };
    let renewed = decide(&pending(), &CredentialChange::RenewConfirm(newer), 199).unwrap();
    assert_eq!(decide(&renewed, &confirm, 199), Err(CredentialRefusal::BadToken));
    assert_eq!(
        decide(&confirmed, &CredentialChange::RenewConfirm(newer), 199),
        Err(CredentialRefusal::AlreadyConfirmed)
    );

    let reset = |token| CredentialChange::Reset { token, password: "new".into() };
    assert_eq!(decide(&confirmed, &reset([0; 32]), 199), Err(CredentialRefusal::BadToken));
    let asked = decide(&pending(), &CredentialChange::BeginReset(newer), 199).unwrap();
    let done = decide(&asked, &reset(newer.hash), 499).unwrap();
    assert!(done.confirmed && &*done.password == "new", "whoever has the mail has the address");
    assert_eq!(decide(&done, &reset(newer.hash), 499), Err(CredentialRefusal::BadToken));
    assert_eq!(decide(&done, &confirm, 199), Err(CredentialRefusal::BadToken));
    let set = CredentialChange::SetPassword { seen: "h".into(), password: "x".into() };
    assert_eq!(decide(&done, &set, 499), Err(CredentialRefusal::Changed));
    let changed = decide(&asked, &set, 300).unwrap();
    assert_eq!(changed.reset, None, "a mail from before is worth nothing");
}

#[test]
fn a_name_is_taken_until_its_registration_lapses() {
    let again = |over, now| Credential::decide(Some(pending()), &register(Some(TOKEN), over), now);
    assert_eq!(again(false, 199), Err(CredentialRefusal::Taken));
    assert!(again(true, 199).is_ok());
    assert!(again(false, 200).is_ok());
    let confirmed = Credential { confirmed: true, ..pending() };
    let over = Credential::decide(Some(confirmed.clone()), &register(None, true), 999);
    assert_eq!(over, Err(CredentialRefusal::Taken));
    assert!(pending().is_given_up(false, 100 + PENDING_S) && !pending().is_given_up(false, 99 + PENDING_S));
    assert!(confirmed.is_given_up(false, 100 + UNUSED_S) && !confirmed.is_given_up(false, 99 + UNUSED_S));
    assert!(!confirmed.is_given_up(true, u32::MAX));
    let unknown = Credential::decide(None, &CredentialChange::BeginReset(TOKEN), 1);
    assert_eq!(unknown, Err(CredentialRefusal::Unknown));
}

/// A stranger registers an address that is not theirs, before or after its owner does: the owner's e-mail confirms the owner's
/// password.
#[test]
fn a_mail_confirms_the_password_of_the_registration_that_sent_it() {
    let register = |password: &str, hash: u8| CredentialChange::Register {
        name: "a@b".into(),
        password: password.into(),
        confirm: Some(MailToken { hash: [hash; 32], expires: 500 }),
        over_pending: true,
    };
    let decide = |current, change: &CredentialChange| Credential::decide(Some(current), change, 150);
    let first = Credential::decide(None, &register("stranger", 1), 100).unwrap();
    let owned = decide(first, &register("owner", 2)).unwrap();
    let again = decide(owned, &register("stranger again", 3)).unwrap();
    let confirmed = decide(again.clone(), &CredentialChange::Confirm([2; 32])).unwrap();
    assert_eq!((&*confirmed.password, confirmed.confirm.len()), ("owner", 0));
    let late = decide(confirmed, &CredentialChange::Confirm([3; 32]));
    assert_eq!(late, Err(CredentialRefusal::BadToken));
    let crowd = (4..20).fold(again, |current, hash| decide(current, &register("x", hash)).unwrap());
    assert_eq!(crowd.confirm.len(), MOST_PENDING);
}

#[test]
fn neither_password_nor_token_is_shown() {
    assert_eq!(format!("{:?}", pending()), "Credential { confirmed: false, .. }");
    assert_eq!(format!("{:?}", register(None, false)), "Register(..)");
}
