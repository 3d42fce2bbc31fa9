//! Linking: one identity has one owner, whatever races; and what a link does to sessions and tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use passerby_actors::actor::{Ends, Joined, LinkerHandle, Proof, Witness};
use passerby_actors::domain::{
    API_KEY, ApiKey, Cause, Credential, CredentialChange, CredentialRefusal, DeviceId, IdentityKey, MAIL_TOKEN_S,
    MAX_ANONYMOUS_SESSIONS, MAX_IDENTITIES, MailToken, MergePolicy, Refusal, SessionKind, UserId, ValueKey,
};
use passerby_actors::handle::{Error, IdForm, LoggedIn};
use passerby_actors::testkit::{Random, Running, World, values};

pub(crate) fn proof(external: &str) -> Proof {
    let identity = IdentityKey { provider: "custom-token".into(), external: external.into() };
    Proof::new(identity, r#"{"name":"N"}"#.into())
}

pub(crate) async fn anonymous(running: &Running, kind: SessionKind) -> LoggedIn {
    running.handle.login(kind, IdForm::TimeOrdered).await.unwrap()
}

pub(crate) fn linker(running: &Running) -> Arc<LinkerHandle> {
    Arc::clone(&running.linker)
}

pub(crate) async fn log_in(linker: &LinkerHandle, external: &str) -> Result<LoggedIn, Error> {
    linker.log_in(proof(external), SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered).await
}

pub(crate) const IN_USE: Error = Error::Refused(Refusal::IdentityInUse);
pub(crate) const ENDED: Error = Error::Refused(Refusal::SessionEnded);

/// Every identity in the registry has one owner, whose record has it, also after a restart.
pub(crate) fn consistent(running: &Running, users: &[UserId], externals: &[String]) {
    let mut owners = BTreeMap::new();
    for user in users {
        for identity in running.handle.load(user).iter().flat_map(|user| user.identities()) {
            assert_eq!(owners.insert(identity.key.clone(), *user), None, "two owners");
        }
    }
    for external in externals {
        let key = proof(external).identity;
        assert_eq!(running.store.resolve(&key), owners.get(&key).copied(), "{external}");
    }
}

#[actix_rt::test]
async fn of_a_thousand_users_who_link_one_identity_at_once_one_gets_it() {
    let world = World::new(1);
    let running = world.open();
    let linker = linker(&running);
    let users = join_all((0..1000).map(|_| anonymous(&running, SessionKind::V1))).await;
    let linked = join_all(users.iter().map(|user| linker.link(user.user, user.number, proof("one")))).await;
    let owners: Vec<_> = linked.iter().zip(&users).filter(|(linked, _)| linked.is_ok()).collect();
    assert_eq!(owners.len(), 1);
    assert_eq!(linked.iter().filter(|linked| **linked == Err(IN_USE)).count(), 999);
    let owner = owners[0].1.user;
    // the others are as they were
    for user in users.iter().filter(|user| user.user != owner) {
        let live = running.handle.check(&user.user, &user.session, Some(user.epoch)).unwrap();
        assert!(live.record.is_anonymous());
    }
    let ids: Vec<UserId> = users.iter().map(|user| user.user).collect();
    consistent(&running, &ids, &["one".to_owned()]);
    running.store.stop();
    let running = world.open();
    consistent(&running, &ids, &["one".to_owned()]);
    assert_eq!(running.store.resolve(&proof("one").identity), Some(owner));
}

/// S5: what was handed out before the link is worth nothing after it, as far as SDKs allow.
#[actix_rt::test]
async fn a_link_replaces_the_session_that_asks_and_ends_those_begun_anonymously() {
    let world = World::new(2);
    let running = world.open();
    let linker = linker(&running);

    let v1 = anonymous(&running, SessionKind::V1).await;
    let planted = running.handle.open_session(&v1.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();
    let after = linker.link(v1.user, v1.number, proof("v1")).await.unwrap();
    assert_eq!((after.user, after.number), (v1.user, planted.number + 1), "the same user under another number");
    assert_eq!(running.handle.check(&v1.user, &v1.session, None).unwrap_err(), ENDED);
    assert_eq!(running.handle.rotate(&v1.user, planted.number, 0).await, Err(ENDED));
    assert!(!running.handle.check(&v1.user, &after.session, Some(after.epoch)).unwrap().record.is_anonymous());

    let app = anonymous(&running, SessionKind::AppServices).await;
    let after = linker.link(app.user, app.number, proof("app")).await.unwrap();
    assert_eq!((after.number, after.epoch), (app.number, app.epoch + 1), "SDKs keep their refresh token");
    assert!(running.handle.check(&app.user, &app.session, None).is_ok());
    assert_eq!(running.handle.check(&app.user, &app.session, Some(app.epoch)).unwrap_err(), ENDED);

    // a second device logs in, and a second provider logs no device out
    let device = log_in(&linker, "app").await.unwrap();
    assert_eq!(device.user, app.user);
    let second = linker.link(app.user, app.number, proof("second")).await.unwrap();
    assert_eq!(second.epoch, after.epoch + 1);
    assert!(running.handle.check(&app.user, &device.session, Some(device.epoch)).is_ok());
    // again is nothing new
    assert_eq!(linker.link(app.user, app.number, proof("second")).await, Ok(second));
}

#[actix_rt::test]
async fn a_linked_user_stays_without_activity_and_without_sessions_and_is_found_by_its_identity() {
    let world = World::new(3);
    let running = world.open();
    let linker = linker(&running);
    let user = anonymous(&running, SessionKind::V1).await;
    let linked = linker.link(user.user, user.number, proof("a")).await.unwrap();
    running.handle.logout(&user.user, linked.number).await.unwrap();
    world.clock.advance_s(400 * 86_400);
    let again = log_in(&linker, "a").await.unwrap();
    assert_eq!(again.user, user.user);
    let known = running.handle.load(&user.user).unwrap();
    assert_eq!(known.identities().len(), 1);
    assert_eq!(&*known.identities()[0].data, r#"{"name":"N"}"#);

    assert_eq!(linker.unlink(user.user, proof("a").identity).await, Err(Error::Refused(Refusal::LastIdentity)));
    assert_eq!(linker.unlink(user.user, proof("b").identity).await, Err(Error::Refused(Refusal::NoSuchIdentity)));
    linker.link(user.user, again.number, proof("b")).await.unwrap();
    linker.unlink(user.user, proof("a").identity).await.unwrap();
    let other = log_in(&linker, "a").await.unwrap();
    assert_ne!(other.user, user.user, "the identity is free again");
    running.handle.delete(&user.user, Cause::DeletedByUser).await.unwrap();
    assert_ne!(log_in(&linker, "b").await.unwrap().user, user.user, "and so is one whose user is deleted");
}

#[actix_rt::test]
async fn logins_by_one_new_identity_at_once_make_one_user_and_sessions_are_bounded() {
    let mut world = World::new(4);
    world.policy.max_sessions = 5;
    let running = world.open();
    let linker = linker(&running);
    let logged_in = join_all((0..20).map(|_| log_in(&linker, "new"))).await;
    let opened: Vec<LoggedIn> = logged_in.into_iter().map(Result::unwrap).collect();
    assert!(opened.iter().all(|one| one.user == opened[0].user));
    assert_eq!(running.store.users(), 1);
    for _ in 0..6 {
        log_in(&linker, "new").await.unwrap();
    }
    let sessions = running.handle.load(&opened[0].user).unwrap().sessions();
    assert_eq!(sessions.len(), 5);
    assert!(sessions.windows(2).all(|pair| pair[0].number + 1 == pair[1].number), "the oldest went");
}

#[actix_rt::test]
async fn a_user_has_a_bounded_number_of_identities() {
    let world = World::new(6);
    let running = world.open();
    let linker = linker(&running);
    let user = anonymous(&running, SessionKind::AppServices).await;
    for n in 0..MAX_IDENTITIES {
        linker.link(user.user, user.number, proof(&n.to_string())).await.unwrap();
    }
    let one_more = linker.link(user.user, user.number, proof("more")).await;
    assert_eq!(one_more, Err(Error::Refused(Refusal::TooManyIdentities)));
    assert_eq!(running.store.resolve(&proof("more").identity), None);
}

/// Link ∥ logout, delete, expiry, a second link: linked, or gone and the link refused.
#[actix_rt::test]
async fn links_race_with_logouts_deletions_expiry_and_each_other() {
    let mut world = World::new(5);
    world.options.max_users = 10_000;
    let running = world.open();
    let linker = linker(&running);
    let janitor = passerby_actors::actor::JanitorHandle::start(Arc::clone(&running.core)).await.unwrap();
    let mut random = Random(5);
    let (mut users, mut externals) = (Vec::new(), Vec::new());
    for round in 0..300 {
        let user = anonymous(&running, if random.one_in(2) { SessionKind::V1 } else { SessionKind::AppServices }).await;
        let other = anonymous(&running, SessionKind::V1).await;
        let external = format!("r{round}");
        if random.one_in(5) {
            world.clock.advance_s(90 * 86_400 - 1 + random.below(3) as u64);
        }
        let (proof, again) = (proof(&external), proof(&external));
        let link = linker.link(user.user, user.number, proof);
        let against = async {
            match round % 4 {
                0 => running.handle.logout(&user.user, user.number).await.map(drop),
                1 => running.handle.delete(&user.user, Cause::DeletedByUser).await,
                2 => linker.link(other.user, other.number, again).await.map(drop),
                _ => janitor.sweep(running.store.pages()).await.map(drop),
            }
        };
        let (linked, ended) = if random.one_in(2) { tokio::join!(link, against) } else { swapped(against, link).await };
        let found = running.handle.load(&user.user);
        match (&linked, &found) {
            (Ok(_), Some(found)) => assert_eq!(found.identities().len(), 1, "{round}: {ended:?}"),
            // linked, and then deleted
            (Ok(_), None) => assert!(round % 4 == 1 && ended.is_ok(), "{round}: {ended:?}"),
            (Err(Error::Refused(_)), None) => {}
            (Err(error), Some(found)) => {
                assert!(found.identities().is_empty(), "{round}: {error}");
                assert!(matches!(error, Error::Refused(Refusal::IdentityInUse) | Error::Busy), "{round}: {error}");
            }
            other => panic!("{round}: {other:?}"),
        }
        users.extend([user.user, other.user]);
        externals.push(external);
    }
    consistent(&running, &users, &externals);
    running.store.stop();
    consistent(&world.open(), &users, &externals);
}

pub(crate) async fn swapped<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (B, A) {
    let (a, b) = tokio::join!(first, second);
    (b, a)
}

pub(crate) const OPENS: (SessionKind, DeviceId) = (SessionKind::V1, DeviceId([0; 12]));
pub(crate) const GONE: Error = Error::Refused(Refusal::Gone);

pub(crate) async fn merge(linker: &LinkerHandle, user: &LoggedIn, proof: Proof) -> Result<Joined, Error> {
    linker.merge(user.user, user.number, proof, OPENS, MergePolicy::default()).await
}

/// Eight sessions; one more ends the oldest, never the one that asks.
#[actix_rt::test]
async fn an_anonymous_user_has_at_most_eight_sessions_and_the_one_that_asks_stays() {
    let world = World::new(9);
    let running = world.open();
    let user = anonymous(&running, SessionKind::V1).await;
    for _ in 0..MAX_ANONYMOUS_SESSIONS + 2 {
        running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), Some(user.number)).await.unwrap();
    }
    let numbers: Vec<u32> = running.handle.load(&user.user).unwrap().sessions().iter().map(|s| s.number).collect();
    assert_eq!(numbers, [1, 5, 6, 7, 8, 9, 10, 11]);
    running.handle.end_others(&user.user, 7).await.unwrap();
    assert_eq!(running.handle.load(&user.user).unwrap().sessions().len(), 1);
    let beside = running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), Some(1)).await;
    assert_eq!(beside.unwrap_err(), ENDED, "a code ends with the session that asked for it");
}

/// A session's last use is known, by the hour, and costs the check nothing.
#[actix_rt::test]
async fn the_last_use_of_each_session_is_written_after_a_while() {
    let world = World::new(10);
    let running = world.open();
    let user = anonymous(&running, SessionKind::V1).await;
    let second = running.handle.open_session(&user.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();
    let began = second.seen;
    world.clock.advance_s(3600);
    let id = passerby_actors::domain::SessionId::derive(&user.user, second.number);
    running.handle.check(&user.user, &id, None).unwrap();
    let seen = || running.handle.load(&user.user).unwrap().sessions().iter().map(|s| s.seen).collect::<Vec<_>>();
    passerby_actors::testkit::until("the use is written", || seen()[1] == began + 3600).await;
    assert_eq!(seen()[0], began, "the other was not used");
    running.store.stop();
    let running = world.open();
    assert_eq!(running.handle.load(&user.user).unwrap().sessions()[1].seen, began + 3600);
}

fn register(password: &str) -> CredentialChange {
    CredentialChange::Register { name: "a@b".into(), password: password.into(), confirm: None, over_pending: false }
}

/// What the provider would make of the credential as it is now.
fn proof_by_password(running: &Running) -> Proof {
    let identity = Credential::identity("a@b");
    let key = ValueKey::credential(&identity);
    let value = running.store.value(&key).expect("the credential");
    Proof { rests_on: Some(Witness { key, value }), ..Proof::new(identity, "".into()) }
}

/// A password that was changed between the check and the commit proves nothing; a reset ends every session; and a credential
/// goes with its identity.
#[actix_rt::test]
async fn a_credential_is_what_logins_rest_on_and_goes_with_its_identity() {
    let world = World::new(11);
    let running = world.open();
    let linker = linker(&running);
    let identity = Credential::identity("a@b");
    let change = |change, ends| linker.change_credential(identity.clone(), change, ends);
    change(register("one"), Ends::Nothing).await.unwrap();
    let taken = change(register("two"), Ends::Nothing).await;
    assert_eq!(taken, Err(Error::Refused(Refusal::Credential(CredentialRefusal::Taken))));
    assert_eq!(running.store.users(), 0, "registering makes no user");

    let stale = proof_by_password(&running);
    let log_in = |proof| linker.log_in(proof, SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered);
    let user = log_in(stale.clone()).await.unwrap();
    let device = log_in(stale.clone()).await.unwrap();
    assert_eq!(device.user, user.user);
    let set = CredentialChange::SetPassword { seen: "one".into(), password: "two".into() };
    change(set.clone(), Ends::Others(device.number)).await.unwrap();
    assert_eq!(running.handle.check(&user.user, &user.session, None).unwrap_err(), ENDED);
    assert!(running.handle.check(&user.user, &device.session, None).is_ok());
    assert_eq!(log_in(stale.clone()).await, Err(Error::Refused(Refusal::StaleProof)));
    let guest = anonymous(&running, SessionKind::V1).await;
    assert_eq!(merge(&linker, &guest, stale).await, Err(Error::Refused(Refusal::StaleProof)));
    assert_eq!(change(set, Ends::Nothing).await, Err(Error::Refused(Refusal::Credential(CredentialRefusal::Changed))));

    let token = MailToken { hash: [1; 32], expires: running.store.clock().now() + MAIL_TOKEN_S };
    change(CredentialChange::BeginReset(token), Ends::Nothing).await.unwrap();
    running.store.stop();
    let running = world.open();
    let linker = self::linker(&running);
    let reset = || CredentialChange::Reset { token: token.hash, password: "three".into() };
    linker.change_credential(identity.clone(), reset(), Ends::All).await.unwrap();
    assert_eq!(running.handle.load(&user.user).unwrap().sessions(), []);
    let used = linker.change_credential(identity.clone(), reset(), Ends::All).await;
    assert_eq!(used, Err(Error::Refused(Refusal::Credential(CredentialRefusal::BadToken))));

    let proof = proof_by_password(&running);
    let again = linker.log_in(proof.clone(), SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered).await.unwrap();
    assert_eq!(again.user, user.user);
    running.handle.delete(&user.user, Cause::DeletedByUser).await.unwrap();
    assert_eq!(running.store.value(&ValueKey::credential(&identity)), None, "it went with its user");
    let late = linker.log_in(proof, SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered).await;
    assert_eq!(late, Err(Error::Refused(Refusal::StaleProof)));
    running.store.stop();
    assert_eq!(values(&*world.open().store), 0);
}

#[actix_rt::test]
async fn registrations_that_nobody_confirms_are_swept() {
    let world = World::new(12);
    let running = world.open();
    let linker = linker(&running);
    let confirm = Some(MailToken { hash: [1; 32], expires: running.store.clock().now() + MAIL_TOKEN_S });
    let change = CredentialChange::Register { name: "a@b".into(), password: "x".into(), confirm, over_pending: false };
    linker.change_credential(Credential::identity("a@b"), change, Ends::Nothing).await.unwrap();
    world.clock.advance_s(30 * 86_400 - 1);
    running.sweep().await;
    assert_eq!(values(&*running.store), 1);
    world.clock.advance_s(1);
    running.sweep().await;
    assert_eq!(values(&*running.store), 0);
}

#[actix_rt::test]
async fn an_api_key_finds_its_owner_until_it_is_disabled_or_gone() {
    let world = World::new(13);
    let running = world.open();
    let linker = linker(&running);
    let key = |n: u8, name: &str| ApiKey {
        id: DeviceId([n; 12]),
        hash: [n; 32],
        created: running.store.clock().now(),
        disabled: false,
        name: name.into(),
    };
    let of = |n: u8| {
        let identity = ApiKey::identity(&[n; 32]);
        assert_eq!(&*identity.provider, API_KEY);
        Proof { of_known_user: true, ..Proof::new(identity, "".into()) }
    };
    let log_in_by = |n: u8| linker.log_in(of(n), SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered);
    let guest = anonymous(&running, SessionKind::V1).await;
    let refused = |refusal| Err(Error::Refused(refusal));
    assert_eq!(running.handle.create_key(&guest.user, key(1, "a")).await, refused(Refusal::Anonymous));
    let owner = log_in(&linker, "owner").await.unwrap();
    running.handle.create_key(&owner.user, key(1, "a")).await.unwrap();
    assert_eq!(running.handle.create_key(&owner.user, key(2, "a")).await, refused(Refusal::KeyNameTaken));
    for n in 2..=20 {
        running.handle.create_key(&owner.user, key(n, &n.to_string())).await.unwrap();
    }
    assert_eq!(running.handle.create_key(&owner.user, key(21, "b")).await, refused(Refusal::TooManyKeys));

    assert_eq!(log_in_by(1).await.unwrap().user, owner.user);
    assert_eq!(log_in_by(99).await, Err(Error::Refused(Refusal::StaleProof)), "no login makes a user of a key");
    assert_eq!(linker.link(guest.user, guest.number, of(1)).await, Err(IN_USE));
    assert_eq!(linker.link(owner.user, owner.number, of(1)).await, Ok(owner), "one's own is nothing new");
    assert_eq!(linker.link(guest.user, guest.number, of(99)).await, Err(Error::Refused(Refusal::NoSuchIdentity)));
    running.handle.set_key(&owner.user, DeviceId([1; 12]), true).await.unwrap();
    assert_eq!(log_in_by(1).await, Err(Error::Refused(Refusal::StaleProof)));
    running.handle.set_key(&owner.user, DeviceId([1; 12]), false).await.unwrap();
    running.handle.remove_key(&owner.user, DeviceId([2; 12])).await.unwrap();
    assert_eq!(log_in_by(2).await, Err(Error::Refused(Refusal::StaleProof)));
    running.store.stop();
    let running = world.open();
    let linker = self::linker(&running);
    let log_in_by = |n: u8| linker.log_in(of(n), SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered);
    assert_eq!(log_in_by(1).await.unwrap().user, owner.user);
    running.handle.delete(&owner.user, Cause::DeletedByUser).await.unwrap();
    assert_eq!(log_in_by(1).await, Err(Error::Refused(Refusal::StaleProof)));
}

pub(crate) fn article(item: u64) -> passerby_actors::domain::Count {
    let period = passerby_actors::domain::Period { start: 0, end: i64::MAX };
    let (meter, item) = ("articles".into(), Some(item));
    passerby_actors::domain::Count { meter, period, rolls: false, limit: 5, amount: 1, item, operation: None, now: 1 }
}

/// Ten thousand at once: five are allowed, five are counted, also after a restart; and they go with their user.
#[actix_rt::test]
async fn a_meter_never_over_or_under_counts() {
    let world = World::new(14);
    let running = world.open();
    let user = anonymous(&running, SessionKind::V1).await;
    let mut allowed = 0;
    for round in 0..10 {
        let counts = (0..1000).map(|n| running.handle.count(&user.user, article(round * 1000 + n)));
        allowed += join_all(counts).await.into_iter().filter(|reading| reading.as_ref().unwrap().allowed).count();
    }
    assert_eq!(allowed, 5);
    running.store.stop();
    let running = world.open();
    let look = passerby_actors::domain::Count { amount: 0, item: None, ..article(0) };
    assert_eq!(running.handle.count(&user.user, look).await.unwrap().used, 5);
    running.handle.delete(&user.user, Cause::DeletedByUser).await.unwrap();
    assert_eq!(values(&*running.store), 0);
    assert_eq!(running.handle.count(&user.user, article(1)).await, Err(GONE));
}

/// A login that rests on the old password is over before the change and ended by it, or comes after it and is refused; also
/// when it is the name's first login, or the one session of its user asks for the change.
#[actix_rt::test]
async fn no_session_of_an_old_password_survives_a_change_that_races_with_its_login() {
    let mut world = World::new(16);
    world.options.max_users = 10_000;
    let running = world.open();
    let linker = linker(&running);
    let mut random = Random(16);
    let (mut ended, mut refused) = (0, 0);
    for round in 0..200 {
        let name = format!("{round}@example.test");
        let identity = Credential::identity(&name);
        let register = CredentialChange::Register {
            name: name.as_str().into(),
            password: "old".into(),
            confirm: None,
            over_pending: false,
        };
        linker.change_credential(identity.clone(), register, Ends::Nothing).await.unwrap();
        let key = ValueKey::credential(&identity);
        let value = running.store.value(&key).unwrap();
        let proof = || {
            let rests_on = Some(Witness { key: key.clone(), value: value.clone() });
            Proof { rests_on, ..Proof::new(identity.clone(), "".into()) }
        };
        let log_in = || linker.log_in(proof(), SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered);
        // none, then one, then several sessions before
        let mut before = Vec::new();
        for _ in 0..round % 3 {
            before.push(log_in().await.unwrap());
        }
        let keeps = before.first().filter(|_| random.one_in(2)).copied();
        let ends = keeps.map_or(Ends::All, |session| Ends::Others(session.number));
        let change = CredentialChange::SetPassword { seen: "old".into(), password: "new".into() };
        let changing = linker.change_credential(identity.clone(), change, ends);
        let (login, changed) =
            if random.one_in(2) { tokio::join!(log_in(), changing) } else { swapped(changing, log_in()).await };
        changed.unwrap();
        match login {
            Ok(session) => {
                let live = running.handle.check(&session.user, &session.session, Some(session.epoch));
                assert_eq!(live.unwrap_err(), ENDED, "{round}");
                ended += 1;
            }
            Err(error) => {
                assert_eq!(error, Error::Refused(Refusal::StaleProof), "{round}");
                refused += 1;
            }
        }
        for session in before {
            let live = running.handle.check(&session.user, &session.session, Some(session.epoch)).is_ok();
            assert_eq!(live, keeps == Some(session), "{round}");
        }
    }
    assert!(ended > 10 && refused > 10, "{ended} ended, {refused} refused");
}
