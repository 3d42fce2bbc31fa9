//! Lists of users against a walk over the whole store, whatever happens to users meanwhile; and when there is an index at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use passerby_actors::actor::Proof;
use passerby_actors::domain::{
    API_KEY, ApiKey, Cause, Change, Credential, DeviceId, Document, Expected, Flags, IdentityKey, SessionId,
    SessionKind, Suspension, UserId, UserState,
};
use passerby_actors::handle::{
    Error, FoundBy, Handle, IdForm, LoggedIn, MOST_READ, UserCounts, UserFilter, UserPage, UserQuery,
};
use passerby_actors::testkit::{DAY_S, Random, Running, World, until};

use crate::linking::{OPENS, anonymous, log_in, merge, proof};

/// Every user who is stored, oldest first.
fn stored(running: &Running) -> Vec<UserState> {
    let mut ids = Vec::new();
    for page in 0..running.store.pages() {
        running.store.see_users(page, &mut |id, _| ids.push(*id));
    }
    ids.sort_by_key(|id| (id.created_ms(), *id));
    ids.iter().filter_map(|id| running.store.load(id)).collect()
}

fn has_document(user: &UserState) -> bool {
    user.document.as_deref().is_some_and(|bytes| Document::view(bytes).unwrap().json.is_some())
}

fn has_provider(user: &UserState, provider: &str) -> bool {
    user.identities().iter().any(|identity| *identity.key.provider == *provider)
        || (provider == API_KEY && !user.api_keys().is_empty())
}

fn fits(filter: &UserFilter, user: &UserState) -> bool {
    let is = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
    let flags = user.record.flags;
    is(filter.anonymous, user.record.is_anonymous())
        && is(filter.disabled, flags.has(Flags::DISABLED))
        && is(filter.unused, user.record.is_unused())
        && is(filter.document, has_document(user))
        && filter.provider.as_ref().is_none_or(|provider| has_provider(user, provider))
        && filter.created.as_ref().is_none_or(|created| created.contains(&user.id.created_ms()))
        && filter.seen.as_ref().is_none_or(|seen| seen.contains(&user.record.last_seen))
}

async fn all(handle: &Handle, filter: &UserFilter, newest_first: bool, limit: usize) -> Vec<UserState> {
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let query = UserQuery { filter: filter.clone(), newest_first, after, limit };
        let page = handle.users(query).await.unwrap();
        assert!(page.users.len() <= limit);
        users.extend(page.users);
        match page.next {
            None => return users,
            next => after = next,
        }
    }
}

/// What the index says is what a walk over all users says.
async fn check(running: &Running, random: &mut Random, step: usize) {
    let (now, window_s) = (running.store.clock().now(), running.core.policy().window_s);
    let users = stored(running);
    let flag = |random: &mut Random| random.one_in(3).then(|| random.one_in(2));
    let between = |random: &mut Random, start: u64, end: u64| {
        let mut ends = [0; 2].map(|_| start + random.next() % (end - start + 1));
        ends.sort_unstable();
        random.one_in(3).then(|| ends[0]..ends[1])
    };
    let now_ms = running.store.clock().wall_ms();
    let seen = between(random, u64::from(now) - 1_000_000, u64::from(now) + 1);
    let names = ["custom-token", API_KEY, "provider-3", "provider-14", "nobody-has-it"];
    let filter = UserFilter {
        anonymous: flag(random),
        disabled: flag(random),
        unused: flag(random),
        document: flag(random),
        provider: random.one_in(4).then(|| names[random.below(names.len())].into()),
        created: between(random, now_ms - 1_000_000_000, now_ms + 1),
        seen: seen.map(|seen| seen.start as u32..seen.end as u32),
    };
    let newest_first = random.one_in(2);
    let lives = |user: &&UserState| !user.record.is_expired(now, window_s);
    let fitting = users.iter().filter(lives).filter(|user| fits(&filter, user));
    let mut expected: Vec<UserId> = fitting.map(|user| user.id).collect();
    if newest_first {
        expected.reverse();
    }
    let limit = 1 + random.below(40);
    let listed = all(&running.handle, &filter, newest_first, limit).await;
    assert_eq!(listed.iter().map(|user| user.id).collect::<Vec<_>>(), expected, "step {step}: {filter:?}");

    let count = |fits: &dyn Fn(&UserState) -> bool| users.iter().filter(|user| fits(user)).count();
    let counts = running.handle.user_counts().await.unwrap();
    let is_named = |provider: &str| counts.providers.iter().any(|(name, _)| **name == *provider);
    let is_other = |user: &UserState| {
        user.identities().iter().any(|identity| !is_named(&identity.key.provider))
            || (!user.api_keys().is_empty() && !is_named(API_KEY))
    };
    let of_provider = |name: &str| count(&|user| has_provider(user, name));
    let expected = UserCounts {
        users: users.len(),
        anonymous: count(&|user| user.record.is_anonymous()),
        accounts: count(&|user| !user.record.is_anonymous()),
        disabled: count(&|user| user.record.flags.has(Flags::DISABLED)),
        unused: count(&|user| user.record.is_unused()),
        documents: count(&has_document),
        providers: counts.providers.iter().map(|(name, _)| (name.clone(), of_provider(name))).collect(),
        other_providers: count(&is_other),
    };
    assert_eq!(counts, expected, "step {step}");

    // a provider without a bit of its own is counted with the others that have none
    let counted = running.handle.count_users(filter.clone()).await.unwrap();
    let is_known = filter.provider.as_ref().is_none_or(|name| counts.providers.len() < 11 || is_named(name));
    assert!(counted == Some(count(&|user| fits(&filter, user))) || !is_known && counted.is_none(), "{filter:?}");
}

/// Of one of a few providers, most of them the same.
fn some_proof(random: &mut Random) -> Proof {
    let n = random.below(60);
    if random.one_in(3) {
        let provider = format!("provider-{}", random.below(16)).into();
        return Proof::new(IdentityKey { provider, external: format!("{n}").into() }, "".into());
    }
    proof(&format!("{n}"))
}

fn refused_or_not<T>(_: T) {}

/// One thing that happens, to somebody. What is refused is fine.
async fn happen(running: &Running, random: &mut Random, users: &mut Vec<LoggedIn>) {
    let form = if random.one_in(2) { IdForm::Object } else { IdForm::TimeOrdered };
    let what = random.below(16);
    if users.len() < 20 || what < 4 {
        users.push(running.handle.login(SessionKind::V1, form).await.unwrap());
        return;
    }
    let at = random.below(users.len());
    let user = users[at];
    match what {
        4 => refused_or_not(running.handle.logout(&user.user, user.number).await),
        5 => refused_or_not(running.handle.delete(&user.user, Cause::DeletedByAdmin).await),
        6 => refused_or_not(running.handle.disable(&user.user).await),
        7 => refused_or_not(running.handle.enable(&user.user).await),
        8 => refused_or_not(running.handle.rotate(&user.user, user.number, 0).await),
        9 => refused_or_not(running.handle.check(&user.user, &user.session, None)),
        10 => {
            let change = if random.one_in(3) { Change::Delete } else { Change::Put(serde_json::Map::new()) };
            refused_or_not(running.handle.edit(&user.user, change, Expected::Anything, None, None).await);
        }
        11 | 12 => {
            let proof = some_proof(random);
            if let Ok(linked) = running.linker.link(user.user, user.number, proof).await {
                users[at] = linked;
            }
        }
        13 => refused_or_not(merge(&running.linker, &user, some_proof(random)).await),
        14 => {
            let (id, mut hash) = (DeviceId([random.below(200) as u8; 12]), [0; 32]);
            hash[..8].copy_from_slice(&random.next().to_be_bytes());
            let key = ApiKey { id, hash, created: 0, disabled: false, name: format!("{}", random.below(3)).into() };
            refused_or_not(running.handle.create_key(&user.user, key).await);
        }
        _ => {
            let identity = some_proof(random).identity;
            refused_or_not(running.handle.unlink(user.user, identity).await);
        }
    }
}

#[actix_rt::test]
async fn lists_and_counts_are_those_of_a_walk_over_all_users_whatever_happens() {
    let mut world = World::new(11);
    world.policy.window_s = 20 * DAY_S as u32;
    let mut running = world.open();
    let (mut random, mut users) = (Random(11), Vec::new());
    for step in 0..1500 {
        happen(&running, &mut random, &mut users).await;
        if random.one_in(3) {
            world.clock.advance_s(random.next() % 10_000);
        }
        match random.below(120) {
            0 => drop(running.sweep().await),
            1 => {
                running.close();
                running = world.open();
            }
            // time enough to let the index go
            2 => {
                world.clock.advance_s(DAY_S);
                until("the index is let go", || !running.core.has_user_index()).await;
            }
            3..30 => check(&running, &mut random, step).await,
            _ => {}
        }
    }
    check(&running, &mut random, 1500).await;
    let counts = running.handle.user_counts().await.unwrap();
    assert!(
        counts.providers.len() == 11 && counts.other_providers > 0,
        "there are more providers than bits: {counts:?}"
    );
    assert!(counts.documents > 0 && counts.disabled > 0 && counts.unused > 0 && counts.accounts > 0, "{counts:?}");
    running.close();
}

/// Whoever is there from the first page to the last is on exactly one, while others come and go and the index is built again.
#[actix_rt::test]
async fn who_stays_is_listed_exactly_once_while_others_come_and_go() {
    for newest_first in [false, true] {
        let world = World::new(12);
        let running = world.open();
        let (mut stay, mut go, mut random) = (Vec::new(), Vec::new(), Random(12));
        for _ in 0..300 {
            world.clock.advance_s(random.next() % 3);
            let user = anonymous(&running, SessionKind::V1).await;
            if random.one_in(2) { stay.push(user.user) } else { go.push(user.user) }
        }
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let query = UserQuery { newest_first, after, limit: 7, ..UserQuery::default() };
            let UserPage { users, next, .. } = running.handle.users(query).await.unwrap();
            listed.extend(users.iter().map(|user| user.id));
            // also the one behind whom the list goes on
            if let Some(last) = next.filter(|last| go.contains(last)) {
                running.handle.delete(&last, Cause::DeletedByAdmin).await.unwrap();
                go.retain(|id| *id != last);
            }
            for _ in 0..3 {
                anonymous(&running, SessionKind::V1).await;
                if let Some(user) = go.pop() {
                    running.handle.delete(&user, Cause::DeletedByAdmin).await.unwrap();
                }
            }
            if listed.len() > 140 && listed.len() < 150 {
                world.clock.advance_s(DAY_S / 24);
                until("the index is let go", || !running.core.has_user_index()).await;
            }
            // newcomers come at the end
            if next.is_none() || listed.len() > 3000 {
                break;
            }
            after = next;
            if !newest_first && listed.len() > 250 {
                break;
            }
        }
        let mut once = listed.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), listed.len(), "nobody twice");
        let last = listed.last().unwrap();
        let reached = |id: &&UserId| newest_first || id.created_ms() < last.created_ms();
        let missing: Vec<_> = stay.iter().filter(reached).filter(|id| !listed.contains(id)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        running.close();
    }
}

#[actix_rt::test]
async fn there_is_an_index_only_while_somebody_asks() {
    let world = World::new(13);
    let running = world.open();
    let user = anonymous(&running, SessionKind::V1).await;
    assert!(!running.core.has_user_index(), "nobody has asked");
    assert_eq!(running.handle.user_counts().await.unwrap().users, 1);
    for _ in 0..3 {
        world.clock.advance_s(15 * 60 - 1);
        assert_eq!(running.handle.user_counts().await.unwrap().users, 1, "it is kept by being asked");
    }
    assert!(running.core.has_user_index());
    world.clock.advance_s(15 * 60);
    until("it is let go", || !running.core.has_user_index()).await;
    // and built again, with what happened meanwhile
    running.handle.delete(&user.user, Cause::DeletedByUser).await.unwrap();
    assert_eq!(running.handle.user_counts().await, Ok(UserCounts::default()));
    running.store.stop();
    assert_eq!(running.handle.user_counts().await, Err(Error::Stopping));
    until("its thread has ended", || !running.core.has_user_index()).await;
}

/// The answer to a change is behind the change itself in every list; also of one that the feed does not tell.
#[actix_rt::test]
async fn who_was_answered_sees_the_change_in_the_next_list() {
    let world = World::new(14);
    let running = world.open();
    let user = anonymous(&running, SessionKind::V1).await;
    let count = async |filter: UserFilter| running.handle.count_users(filter).await.unwrap().unwrap();
    let unused = UserFilter { unused: Some(true), ..UserFilter::default() };
    let disabled = UserFilter { disabled: Some(true), ..UserFilter::default() };
    assert_eq!((count(unused.clone()).await, count(disabled.clone()).await), (1, 0));
    world.clock.advance_s(3600);
    running.handle.check(&user.user, &user.session, None).unwrap();
    assert_eq!(count(unused).await, 0, "a use that nothing writes");
    let seen = running.store.record(&user.user).unwrap().last_seen;
    let times = [0..seen, seen..seen + 1, seen + 1..u32::MAX].map(Some);
    let filters = times.map(|seen| UserFilter { seen, ..UserFilter::default() });
    assert_eq!(futures_util::future::join_all(filters.map(count)).await, [0, 1, 0]);
    running.handle.disable(&user.user).await.unwrap();
    assert_eq!(count(disabled).await, 1);
    running.close();
}

/// Nobody asks for the user, and nothing is written: the list knows the time.
#[actix_rt::test]
async fn whose_suspension_is_over_is_in_no_list_of_disabled_users() {
    let world = World::new(23);
    let running = world.open();
    let (early, late) = (anonymous(&running, SessionKind::V1).await, anonymous(&running, SessionKind::V1).await);
    let is_disabled = async |on: bool| {
        let filter = UserFilter { disabled: Some(on), ..UserFilter::default() };
        let query = UserQuery { filter: filter.clone(), limit: 10, ..UserQuery::default() };
        let users = running.handle.users(query).await.unwrap().users;
        assert_eq!(running.handle.count_users(filter).await, Ok(Some(users.len())));
        users.into_iter().map(|user| user.id).collect::<Vec<_>>()
    };
    let from_now = |s: u64| Some(running.store.clock().wall_ms() + s * 1000);
    let suspend = async |user, s| {
        let suspension = Suspension { until_ms: from_now(s), reason: "".into() };
        running.handle.suspend(user, suspension).await.unwrap();
    };
    suspend(&early.user, 100).await;
    // known when the index is built, and while it is there
    assert_eq!(is_disabled(true).await, [early.user]);
    suspend(&late.user, 200).await;
    assert_eq!(is_disabled(true).await.len(), 2);
    world.clock.advance_s(100);
    assert_eq!((is_disabled(true).await, is_disabled(false).await), (vec![late.user], vec![early.user]));
    assert_eq!(running.handle.user_counts().await.unwrap().disabled, 1);
    world.clock.advance_s(100);
    assert_eq!(is_disabled(true).await, []);
    assert!(running.handle.load(&late.user).unwrap().record.flags.has(Flags::DISABLED), "nothing was written");
    running.handle.check(&late.user, &late.session, None).unwrap();
    let is_lifted = || !running.handle.load(&late.user).unwrap().record.flags.has(Flags::DISABLED);
    until("it is written", is_lifted).await;
    running.close();
}

/// While it is built, changes go on; none is lost.
#[actix_rt::test]
async fn changes_while_the_index_is_built_are_in_it() {
    let world = World::new(15);
    let running = world.open();
    let mut users = Vec::new();
    for _ in 0..200 {
        users.push(anonymous(&running, SessionKind::V1).await.user);
    }
    for round in 0..20 {
        let asked = actix_rt::spawn({
            let handle = running.handle.clone();
            async move { handle.user_counts().await }
        });
        for _ in 0..5 {
            anonymous(&running, SessionKind::V1).await;
            running.handle.delete(&users.pop().unwrap(), Cause::DeletedByAdmin).await.unwrap();
        }
        // between a login and a deletion
        let users = asked.await.unwrap().unwrap().users;
        assert!((200..=201).contains(&users), "round {round}: {users}");
        assert_eq!(running.handle.user_counts().await.unwrap().users, running.store.users());
        world.clock.advance_s(15 * 60);
        until("it is let go", || !running.core.has_user_index()).await;
    }
    running.close();
}

#[actix_rt::test]
async fn a_page_reads_a_bounded_number_of_users_and_the_next_goes_on() {
    let world = World::new(16);
    let running = world.open();
    let account = log_in(&running.linker, "stays").await.unwrap();
    world.clock.advance_s(1);
    let stop = Arc::<AtomicBool>::default();
    let logins = (0..64).map(|_| {
        let (handle, stop) = (running.handle.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
                if handle.core().store().users() > MOST_READ + 100 {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
    });
    futures_util::future::join_all(logins).await;
    // all but the account have expired, and none is swept
    world.clock.advance_s(u64::from(world.policy.window_s));
    let query = UserQuery { newest_first: true, limit: 5, ..UserQuery::default() };
    let page = running.handle.users(query.clone()).await.unwrap();
    assert_eq!((page.users.len(), page.looked_at, page.next.is_some()), (0, MOST_READ, true));
    let page = running.handle.users(UserQuery { after: page.next, ..query }).await.unwrap();
    assert_eq!((page.users.iter().map(|user| user.id).collect::<Vec<_>>(), page.next), (vec![account.user], None));
    running.close();
}

/// Whoever asks waits for no thread while there is an index and little has changed; and if much has, sees it all the same.
#[actix_rt::test]
async fn a_short_question_is_answered_at_once() {
    let world = World::new(19);
    let running = world.open();
    let counts = || running.handle.user_counts();
    assert_eq!(counts().now_or_never(), None, "there is no index yet");
    let users = async |wanted: usize| {
        assert_eq!(counts().await.unwrap().users, wanted);
        // the thread that has answered may still have the index
        until("an answer at once", || counts().now_or_never().is_some_and(|counts| counts.unwrap().users == wanted))
            .await;
    };
    users(0).await;
    anonymous(&running, SessionKind::V1).await;
    users(1).await;
    for _ in 0..100 {
        anonymous(&running, SessionKind::V1).await;
    }
    users(101).await;
    running.close();
}

/// Whoever asks what takes long does not keep others from their lists.
#[actix_rt::test]
async fn lists_are_answered_while_the_first_search_reads_all_users() {
    let world = World::new(18);
    let running = world.open();
    let guest = anonymous(&running, SessionKind::V1).await;
    running.handle.user_counts().await.unwrap();
    let search = running.handle.find_holder("nobody@example.com");
    let list = running.handle.users(UserQuery { limit: 5, ..UserQuery::default() });
    let (found, page) = futures_util::future::join(search, list).await;
    assert_eq!(found, Ok(None));
    assert_eq!(page.unwrap().users.first().map(|user| user.id), Some(guest.user));
    running.close();
}

#[actix_rt::test]
async fn users_are_found_by_anything_that_names_them() {
    let world = World::new(17);
    let running = world.open();
    let handle = &running.handle;
    let guest = handle.login(SessionKind::V1, IdForm::Object).await.unwrap();
    let account = anonymous(&running, SessionKind::V1).await;
    let data = r#"{"email":"Jean@Example.com"}"#;
    let identity = IdentityKey { provider: "oidc-shop".into(), external: "subject".into() };
    let account = running.linker.link(account.user, account.number, Proof::new(identity, data.into())).await.unwrap();
    let name = Proof::new(Credential::identity("jean@example.com"), "".into());
    let account = running.linker.link(account.user, account.number, name).await.unwrap();
    let merged = anonymous(&running, SessionKind::V1).await;
    let into = Proof::new(IdentityKey { provider: "oidc-shop".into(), external: "subject".into() }, data.into());
    merge(&running.linker, &merged, into).await.unwrap();
    let key = DeviceId([9; 12]);
    let api_key = ApiKey { id: key, hash: [1; 32], created: 0, disabled: false, name: "k".into() };
    handle.create_key(&account.user, api_key).await.unwrap();
    let second = handle.open_session(&account.user, OPENS.0, OPENS.1, None).await.unwrap();

    let find = |text: &str| handle.find(text, &["custom-token", "oidc-shop"]);
    assert_eq!(find(&guest.user.to_string()), [(guest.user, FoundBy::Id)]);
    assert_eq!(find(&guest.user.anonymous_identity()), [(guest.user, FoundBy::AnonymousIdentity)]);
    assert_eq!(find(&merged.user.to_string()), [(account.user, FoundBy::Alias)]);
    assert_eq!(find("subject"), [(account.user, FoundBy::Identity)]);
    assert_eq!(find("jean@example.com"), [(account.user, FoundBy::Name)]);
    assert_eq!(handle.find("subject", &["custom-token"]), []);
    for text in ["", "é", "nobody", "nobody@example.com", &merged.user.anonymous_identity()[..24]] {
        assert_eq!(find(text), [], "{text}");
    }

    let look = async |text: &str| {
        let found = handle.find_holder(text).await.unwrap();
        found.map(|(user, by)| (user.id, by))
    };
    assert_eq!(look(&guest.session.to_string()).await, Some((guest.user, FoundBy::SessionOrKey)));
    let second = SessionId::derive(&account.user, second.number).to_string();
    assert_eq!(look(&second).await, Some((account.user, FoundBy::SessionOrKey)));
    assert_eq!(look(&key.to_string()).await, Some((account.user, FoundBy::SessionOrKey)));
    assert_eq!(look("jean@example.COM").await, Some((account.user, FoundBy::Email)));
    assert_eq!(look("jeanne@example.com").await, None);
    assert_eq!(look(&merged.session.to_string()).await, None, "it has ended");
    assert_eq!(look("subject").await, None, "that is found at once or not at all");
    // what comes later is found too, and what goes is not
    let later = anonymous(&running, SessionKind::V1).await;
    assert_eq!(look(&later.session.to_string()).await, Some((later.user, FoundBy::SessionOrKey)));
    let third = handle.open_session(&later.user, OPENS.0, OPENS.1, None).await.unwrap();
    let third = SessionId::derive(&later.user, third.number).to_string();
    assert_eq!(look(&third).await, Some((later.user, FoundBy::SessionOrKey)));
    handle.logout(&later.user, later.number).await.unwrap();
    assert_eq!(look(&later.session.to_string()).await, None);
    handle.remove_key(&account.user, key).await.unwrap();
    assert_eq!(look(&key.to_string()).await, None);
    running.close();
}
