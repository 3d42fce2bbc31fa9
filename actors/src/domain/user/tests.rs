//! What each operation does to a user.

use super::sessions::MOST_ROTATIONS_AHEAD;
use super::*;
use crate::domain::extension::{ApiKey, IdentityKey};
use crate::domain::ids::DeviceId;
use crate::domain::record::SessionKind;
use crate::domain::session::{LoginMethod, Opening};

const POLICY: Policy =
    Policy { window_s: 1000, touch_granularity_s: 10, session_lifetime_s: 500, max_sessions: 3, ..DEFAULTS };
const DEFAULTS: Policy = Policy {
    window_s: 0,
    unused_s: 0,
    touch_granularity_s: 0,
    session_lifetime_s: 0,
    refresh_grace: true,
    max_sessions: 0,
    link_ends_session: false,
    document_bytes: 0,
    documents_bytes: 0,
    one_identity_of: &["once"],
    ids: None,
};

fn user(kind: SessionKind) -> UserState {
    UserState {
        id: UserId::from_bytes([7; 16]),
        record: Record::new(100, kind),
        extension: None,
        meters: None,
        document: None,
    }
}

fn next(decision: Result<Decision, Refusal>) -> UserState {
    match decision {
        Ok(Decision::Replace { next, .. }) => next,
        other => panic!("expected a change, got {other:?}"),
    }
}

#[test]
fn ending_an_anonymous_users_last_session_deletes_the_user() {
    let end = |session| Operation::EndSession { session, cause: Cause::LoggedOut };
    let one = user(SessionKind::AppServices);
    assert!(matches!(one.decide(&end(1), 200, &POLICY), Ok(Decision::Remove { cause: Cause::LoggedOut, .. })));
    assert_eq!(one.decide(&end(2), 200, &POLICY), Err(Refusal::SessionEnded));

    let open = Operation::OpenSession { kind: SessionKind::V1, device: DeviceId::default(), beside: None };
    let two = next(one.decide(&open, 200, &POLICY));
    assert_eq!(two.sessions().iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2]);
    let rest = next(two.decide(&end(2), 201, &POLICY));
    assert_eq!(rest.sessions().len(), 1);
    let third = next(rest.decide(&open, 202, &POLICY));
    assert_eq!(third.sessions().last().map(|s| s.number), Some(3), "a number is never reused");
    assert!(matches!(rest.decide(&end(1), 203, &POLICY), Ok(Decision::Remove { .. })));
    assert!(matches!(two.decide(&Operation::EndAll, 203, &POLICY), Ok(Decision::Remove { .. })));
}

#[test]
fn a_user_has_one_identity_of_a_provider_that_allows_one() {
    let link = |provider: &str, external: &str| Operation::Link {
        identity: IdentityKey { provider: provider.into(), external: external.into() },
        data: "".into(),
        session: 1,
    };
    let once = next(user(SessionKind::AppServices).decide(&link("once", "a"), 200, &POLICY));
    assert_eq!(once.decide(&link("once", "b"), 201, &POLICY), Err(Refusal::ProviderLinked));
    let other = next(once.decide(&link("often", "a"), 201, &POLICY));
    assert_eq!(next(other.decide(&link("often", "b"), 202, &POLICY)).identities().len(), 3);
}

/// S31, S32.
#[test]
fn a_refresh_token_rotates_with_one_step_of_grace() {
    let rotate = |counter| Operation::Rotate { session: 1, counter };
    let fresh = user(SessionKind::V1);
    let once = next(fresh.decide(&rotate(0), 200, &POLICY));
    assert_eq!(once.decide(&rotate(0), 200, &POLICY), Ok(Decision::Keep(Reply::Rotated { counter: 1, grace: true })));
    let twice = next(once.decide(&rotate(1), 200, &POLICY));
    assert!(matches!(
        twice.decide(&rotate(0), 200, &POLICY),
        Ok(Decision::Remove { cause: Cause::ReuseDetected, reply: Reply::Reused })
    ));
    let strict = Policy { refresh_grace: false, ..POLICY };
    assert!(matches!(once.decide(&rotate(0), 200, &strict), Ok(Decision::Remove { .. })));
    assert_eq!(user(SessionKind::AppServices).decide(&rotate(0), 200, &POLICY), Err(Refusal::WrongKind));
}

/// The compact record counts to 65535; beyond it the session is kept in the extension record, and nothing wraps.
#[test]
fn an_old_refresh_token_is_old_however_many_rotations_lie_between() {
    let rotate = |counter| Operation::Rotate { session: 1, counter };
    let at = |counter: u16| {
        let mut user = user(SessionKind::V1);
        user.record.refresh_counter = counter;
        user
    };
    let old = |user: &UserState, counter| {
        let decision = user.decide(&rotate(counter), 200, &POLICY);
        assert!(matches!(decision, Ok(Decision::Remove { reply: Reply::Reused, .. })), "{counter}: {decision:?}");
    };
    for counter in [32_767, 32_768, 33_500, u16::MAX] {
        old(&at(counter), 0);
        old(&at(counter), u32::from(counter) - 2);
    }
    let mut user = at(u16::MAX);
    for counter in [65_535, 65_536, 65_537] {
        user = next(user.decide(&rotate(counter), 200, &POLICY));
        let session = user.session(1, 200, &POLICY).unwrap();
        assert_eq!((session.refresh_counter, session.number), (counter + 1, 1));
        let again = user.decide(&rotate(counter), 200, &POLICY);
        assert_eq!(again, Ok(Decision::Keep(Reply::Rotated { counter: counter + 1, grace: true })));
    }
    assert!(user.record.is_anonymous() && user.record.flags.has(Flags::EXTENDED));
    for counter in [0, 1, 2, 40_000, 65_535] {
        old(&user, counter);
    }

    // from before a backup was restored: a little ahead, and no more; no session ends for it
    let restored = at(100);
    let ahead = next(restored.decide(&rotate(100 + MOST_ROTATIONS_AHEAD), 200, &POLICY));
    assert_eq!(u32::from(ahead.record.refresh_counter), 101 + MOST_ROTATIONS_AHEAD);
    for counter in [101 + MOST_ROTATIONS_AHEAD, 60_000, u32::MAX] {
        assert_eq!(restored.decide(&rotate(counter), 200, &POLICY), Err(Refusal::SessionEnded), "{counter}");
    }
    let last = user.rotated(1, u32::MAX, 200);
    let decision = last.decide(&rotate(u32::MAX), 200, &POLICY);
    assert_eq!(next(decision).session(1, 200, &POLICY).unwrap().refresh_counter, u32::MAX, "it stays there");
}

#[test]
fn no_session_gets_a_number_that_another_one_had() {
    let open = Operation::OpenSession { kind: SessionKind::V1, device: DeviceId::default(), beside: None };
    let mut user = next(user(SessionKind::V1).decide(&open, 200, &POLICY));
    user.extension.as_mut().unwrap().sessions.as_mut().unwrap().highest = u32::MAX;
    assert_eq!(user.decide(&open, 200, &POLICY), Err(Refusal::SessionsUsedUp));
    let identity = IdentityKey { provider: "p".into(), external: "e".into() };
    let link = Operation::Link { identity, data: "".into(), session: 1 };
    assert_eq!(user.decide(&link, 200, &POLICY), Err(Refusal::SessionsUsedUp));
}

#[test]
fn a_session_remembers_what_began_it_and_ends_with_its_key() {
    let identity = IdentityKey { provider: "local-userpass".into(), external: "e".into() };
    let opening = Opening::new(SessionKind::V1, DeviceId::default(), LoginMethod::Password);
    let (user, first) = UserState::lasting(UserId::from_bytes([7; 16]), identity, "".into(), opening, 100);
    assert_eq!(first.method, LoginMethod::Password);
    let key = |n: u8| ApiKey { id: DeviceId([n; 12]), hash: [n; 32], created: 100, disabled: false, name: "".into() };
    let mut user = user;
    user.extension.as_mut().unwrap().api_keys = vec![key(1), key(2)];
    let log_in = |user: &UserState, n: u8| {
        let identity = ApiKey::identity(&[n; 32]);
        let (kind, device, method) = (SessionKind::V1, DeviceId::default(), LoginMethod::Password);
        next(user.decide(&Operation::LogIn { identity, data: "".into(), method, kind, device }, 100, &POLICY))
    };
    let policy = Policy { max_sessions: 9, ..POLICY };
    let user = log_in(&log_in(&user, 1), 2);
    // a session that a key's session asks for is the key's too
    let beside = |n| Operation::OpenSession { kind: SessionKind::V1, device: DeviceId::default(), beside: Some(n) };
    let user = next(user.decide(&beside(2), 100, &policy));
    let user = next(user.decide(&beside(1), 100, &policy));
    let methods = |user: &UserState| user.sessions().iter().map(|s| (s.number, s.method)).collect::<Vec<_>>();
    let (one, two) = (LoginMethod::ApiKey(DeviceId([1; 12])), LoginMethod::ApiKey(DeviceId([2; 12])));
    let (password, transfer) = (LoginMethod::Password, LoginMethod::Transfer);
    assert_eq!(methods(&user), [(1, password), (2, one), (3, two), (4, one), (5, transfer)]);
    let id = DeviceId([1; 12]);
    let rest = [(1, password), (3, two), (5, transfer)];
    let disabled = next(user.decide(&Operation::SetKey { id, disabled: true }, 100, &policy));
    assert_eq!(methods(&disabled), rest);
    let enabled = next(disabled.decide(&Operation::SetKey { id, disabled: false }, 100, &policy));
    assert_eq!(methods(&enabled), rest, "what has ended has ended");
    assert_eq!(methods(&next(user.decide(&Operation::RemoveKey { id }, 100, &policy))), rest);
}

#[test]
fn a_program_that_logs_in_again_and_again_ends_its_own_sessions_first() {
    let identity = IdentityKey { provider: "local-userpass".into(), external: "e".into() };
    let opening = Opening::new(SessionKind::V1, DeviceId::default(), LoginMethod::Password);
    let (mut user, _) = UserState::lasting(UserId::from_bytes([7; 16]), identity.clone(), "".into(), opening, 100);
    let key = ApiKey { id: DeviceId([1; 12]), hash: [1; 32], created: 100, disabled: false, name: "".into() };
    user.extension.as_mut().unwrap().api_keys = vec![key];
    let policy = Policy { max_sessions: 4, ..POLICY };
    let log_in = |user: &UserState, identity: &IdentityKey| {
        let (kind, device, method) = (SessionKind::V1, DeviceId::default(), LoginMethod::Password);
        let operation = Operation::LogIn { identity: identity.clone(), data: "".into(), method, kind, device };
        next(user.decide(&operation, 100, &policy))
    };
    let numbers = |user: &UserState| user.sessions().iter().map(|session| session.number).collect::<Vec<_>>();
    user = log_in(&user, &identity);
    for _ in 0..20 {
        user = log_in(&user, &ApiKey::identity(&[1; 32]));
    }
    assert_eq!(numbers(&user), [1, 2, 21, 22]);
    assert_eq!(numbers(&log_in(&user, &identity)), [2, 21, 22, 23], "a person's login ends the oldest, as ever");
}

#[test]
fn a_lasting_accounts_session_ends_by_age_and_its_user_does_not() {
    let mut lasting = user(SessionKind::V1);
    lasting.record.flags = lasting.record.flags.with(Flags::LASTING, true);
    assert!(lasting.session(1, 599, &POLICY).is_some());
    assert!(lasting.session(1, 600, &POLICY).is_none());
    assert_eq!(next(lasting.decide(&Operation::EndAll, 9000, &POLICY)).sessions(), []);
}

#[test]
fn disabling_suspends_and_enabling_undoes_it() {
    let before = user(SessionKind::V1);
    let disabled = next(before.decide(&Operation::Disable(Suspension::default()), 200, &POLICY));
    assert_eq!(disabled.decide(&Operation::Rotate { session: 1, counter: 0 }, 200, &POLICY), Err(Refusal::Disabled));
    assert_eq!(next(disabled.decide(&Operation::Enable, 200, &POLICY)), before);
    assert_eq!(
        disabled.decide(&Operation::Disable(Suspension::default()), 200, &POLICY),
        Ok(Decision::Keep(Reply::Done))
    );
    assert_eq!(disabled.decide(&Operation::Enable, 1100, &POLICY), Err(Refusal::Gone), "inactivity still counts");
}

#[test]
fn a_suspension_is_over_when_its_time_has_passed_and_is_then_lifted() {
    let before = user(SessionKind::V1);
    let said = Suspension { until_ms: Some(5000), reason: "spam".into() };
    let disabled = next(before.decide(&Operation::Disable(said.clone()), 200, &POLICY));
    assert_eq!((disabled.suspension(), disabled.sessions()), (Some(&said), before.sessions()));
    assert!(disabled.is_disabled(4999) && !disabled.is_disabled(5000));
    let lift = |user: &UserState, wall_ms| user.decide(&Operation::Lift { wall_ms }, 200, &POLICY);
    assert_eq!(lift(&disabled, 4999), Ok(Decision::Keep(Reply::Done)));
    let lifted = next(lift(&disabled, 5000));
    assert!(!lifted.record.flags.has(Flags::DISABLED) && lifted.suspension().is_none());
    assert_eq!(lift(&lifted, 9000), Ok(Decision::Keep(Reply::Done)));
    // what is said later replaces it
    let for_good = next(disabled.decide(&Operation::Disable(Suspension::default()), 200, &POLICY));
    assert!(for_good.is_disabled(u64::MAX) && for_good.suspension().is_none());
    assert_eq!(lift(&for_good, u64::MAX), Ok(Decision::Keep(Reply::Done)));
}
