//! Linking: one identity has one owner, whoever races; and what a link does to sessions and tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use passerby_actors::actor::{LinkerHandle, Proof};
use passerby_actors::domain::{DeviceId, IdentityKey, MAX_IDENTITIES, Refusal, SessionKind, UserId};
use passerby_actors::handle::{Error, IdForm, LoggedIn};
use passerby_actors::store::Store;

use crate::support::{Random, Running, World};

fn proof(external: &str) -> Proof {
    let identity = IdentityKey { provider: "custom-token".into(), external: external.into() };
    Proof::new(identity, r#"{"name":"N"}"#.into())
}

async fn anonymous(running: &Running, kind: SessionKind) -> LoggedIn {
    running.handle.login(kind, IdForm::TimeOrdered).await.unwrap()
}

async fn linker(running: &Running) -> LinkerHandle {
    LinkerHandle::start(Arc::clone(&running.core)).await.unwrap()
}

async fn log_in(linker: &LinkerHandle, external: &str) -> Result<LoggedIn, Error> {
    linker.log_in(proof(external), SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered).await
}

const IN_USE: Error = Error::Refused(Refusal::IdentityInUse);
const ENDED: Error = Error::Refused(Refusal::SessionEnded);

/// Every identity in the registry has one owner, who knows of it, also after a restart.
fn consistent(running: &Running, users: &[UserId], externals: &[String]) {
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
    let linker = linker(&running).await;
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
    let linker = linker(&running).await;

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

    // another device logs in, and a second provider logs nobody out
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
    let linker = linker(&running).await;
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
    running.handle.delete(&user.user).await.unwrap();
    assert_ne!(log_in(&linker, "b").await.unwrap().user, user.user, "and so is one whose user is deleted");
}

#[actix_rt::test]
async fn logins_by_one_new_identity_at_once_make_one_user_and_sessions_are_bounded() {
    let mut world = World::new(4);
    world.policy.max_sessions = 5;
    let running = world.open();
    let linker = linker(&running).await;
    let logged_in = join_all((0..20).map(|_| log_in(&linker, "new"))).await;
    let made: Vec<LoggedIn> = logged_in.into_iter().map(Result::unwrap).collect();
    assert!(made.iter().all(|one| one.user == made[0].user));
    assert_eq!(running.store.registry().len(), 1);
    for _ in 0..6 {
        log_in(&linker, "new").await.unwrap();
    }
    let sessions = running.handle.load(&made[0].user).unwrap().sessions();
    assert_eq!(sessions.len(), 5);
    assert!(sessions.windows(2).all(|pair| pair[0].number + 1 == pair[1].number), "the oldest went");
}

#[actix_rt::test]
async fn a_user_has_a_bounded_number_of_identities() {
    let world = World::new(6);
    let running = world.open();
    let linker = linker(&running).await;
    let user = anonymous(&running, SessionKind::AppServices).await;
    for n in 0..MAX_IDENTITIES {
        linker.link(user.user, user.number, proof(&n.to_string())).await.unwrap();
    }
    let one_more = linker.link(user.user, user.number, proof("more")).await;
    assert_eq!(one_more, Err(Error::Refused(Refusal::TooManyIdentities)));
    assert_eq!(running.store.resolve(&proof("more").identity), None);
}

/// Design §6: link ∥ logout, delete, expiry, another link: linked, or gone and the link refused.
#[actix_rt::test]
async fn links_race_with_logouts_deletions_expiry_and_each_other() {
    let mut world = World::new(5);
    world.options.max_users = 10_000;
    let running = world.open();
    let linker = linker(&running).await;
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
                1 => running.handle.delete(&user.user).await,
                2 => linker.link(other.user, other.number, again).await.map(drop),
                _ => janitor.sweep(running.store.registry().pages()).await.map(drop),
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

async fn swapped<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (B, A) {
    let (a, b) = tokio::join!(first, second);
    (b, a)
}
