//! Ten thousand random operations against a plain HashMap that says what must be true.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passerby_actors::actor::{Joined, Proof};
use passerby_actors::domain::{
    Cause, Change, DeviceId, Document, Expected, IdentityKey, KeyRule, MAX_ANONYMOUS_SESSIONS, MergePolicy, Operation,
    Refusal, SessionId, SessionKind, UserId,
};
use passerby_actors::handle::{Error, IdForm};
use passerby_actors::testkit::{Random, Running, World};

use serde_json::Value;

const OPERATIONS: usize = 10_000;
const WINDOW_S: u64 = 10_000;
const GRANULARITY_S: u64 = 100;
const LIFETIME_S: u64 = 20_000;
const MAX_SESSIONS: usize = 5;
/// How many identities of a second provider are to be had at a time, and how many more come with each step.
const PEOPLE: usize = 12;
const STEPS_PER_PERSON: usize = 100;

#[derive(Debug, Clone, PartialEq)]
struct Session {
    kind: SessionKind,
    counter: u32,
    started: u64,
    anonymous: bool,
}

#[derive(Debug, Clone, Default)]
struct User {
    last_seen: u64,
    disabled: bool,
    lasting: bool,
    highest: u32,
    sessions: BTreeMap<u32, Session>,
    identities: Vec<usize>,
    aliases: Vec<UserId>,
    document: Option<BTreeMap<String, i64>>,
    version: u64,
}

impl User {
    /// Changes the document; whose version goes on with every change.
    fn edit(&mut self, change: &Change) -> Result<u64, Refusal> {
        if self.disabled {
            return Err(Refusal::Disabled);
        }
        let mut data = self.document.clone().unwrap_or_default();
        let number = |value: &Value| value.as_i64().expect("numbers alone");
        self.document = match change {
            Change::Put(new) => Some(new.iter().map(|(key, value)| (key.clone(), number(value))).collect()),
            Change::Merge(patch) => {
                for (key, value) in patch {
                    if value.is_null() {
                        data.remove(key);
                    } else {
                        data.insert(key.clone(), number(value));
                    }
                }
                Some(data)
            }
            Change::Increment { path, by } => {
                *data.entry(path[1..].to_owned()).or_default() += by.as_i64().expect("whole numbers");
                Some(data)
            }
            _ => None,
        };
        self.version += 1;
        Ok(self.version)
    }

    fn live(&self, number: u32, now: u64) -> Result<&Session, Refusal> {
        let session = self.sessions.get(&number);
        session.filter(|s| !self.lasting || now < s.started + LIFETIME_S).ok_or(Refusal::SessionEnded)
    }

    fn open(&mut self, kind: SessionKind, now: u64) -> Result<u32, Refusal> {
        if self.disabled {
            return Err(Refusal::Disabled);
        }
        let lasting = self.lasting;
        self.sessions.retain(|_, s| !lasting || now < s.started + LIFETIME_S);
        let most = if lasting { MAX_SESSIONS } else { MAX_SESSIONS.min(MAX_ANONYMOUS_SESSIONS) };
        while self.sessions.len() >= most {
            self.sessions.pop_first();
        }
        self.highest += 1;
        self.sessions.insert(self.highest, Session { kind, counter: 0, started: now, anonymous: !lasting });
        Ok(self.highest)
    }

    /// Whether it is new.
    fn link(&mut self, number: u32, person: usize, now: u64) -> Result<u32, Refusal> {
        if self.disabled {
            return Err(Refusal::Disabled);
        }
        let asking = self.live(number, now)?.clone();
        if self.identities.contains(&person) {
            return Ok(number);
        }
        self.identities.push(person);
        self.sessions.retain(|n, s| *n != number && !s.anonymous);
        let number = if asking.kind == SessionKind::AppServices {
            number
        } else {
            self.highest += 1;
            self.highest
        };
        let counter = if asking.kind == SessionKind::AppServices { asking.counter } else { 0 };
        self.sessions.insert(number, Session { kind: asking.kind, counter, started: now, anonymous: false });
        self.lasting = true;
        Ok(number)
    }
}

struct Model {
    now: u64,
    users: HashMap<UserId, User>,
    /// every user ever, so that the dead are asked for too
    known: Vec<UserId>,
}

impl Model {
    fn alive(&mut self, id: &UserId) -> Option<&mut User> {
        let now = self.now;
        self.users.get_mut(id).filter(|user| user.lasting || now < user.last_seen + WINDOW_S)
    }

    fn check(&mut self, id: &UserId, number: u32) -> Result<(), Refusal> {
        let now = self.now;
        let user = self.alive(id).ok_or(Refusal::Gone)?;
        if user.disabled {
            return Err(Refusal::Disabled);
        }
        user.live(number, now)?;
        if now - user.last_seen >= GRANULARITY_S {
            user.last_seen = now;
        }
        Ok(())
    }

    fn rotate(&mut self, id: &UserId, number: u32, counter: u32) -> Result<u32, Refusal> {
        let now = self.now;
        let user = self.alive(id).ok_or(Refusal::Gone)?;
        if user.disabled {
            return Err(Refusal::Disabled);
        }
        user.live(number, now)?;
        let Session { kind, counter: current, .. } = user.sessions.get_mut(&number).ok_or(Refusal::SessionEnded)?;
        if *kind != SessionKind::V1 {
            return Err(Refusal::WrongKind);
        }
        match current.checked_sub(counter) {
            Some(0) | None => *current = counter + 1,
            Some(1) => {}
            Some(_) => {
                self.end(id, number)?;
                return Err(Refusal::SessionEnded);
            }
        }
        Ok(self.users[id].sessions[&number].counter)
    }

    fn end(&mut self, id: &UserId, number: u32) -> Result<(), Refusal> {
        let now = self.now;
        let user = self.alive(id).ok_or(Refusal::Gone)?;
        user.live(number, now)?;
        user.sessions.remove(&number);
        if user.sessions.is_empty() && !user.lasting {
            self.users.remove(id);
        }
        Ok(())
    }

    fn end_all(&mut self, id: &UserId) -> Result<(), Refusal> {
        let user = self.alive(id).ok_or(Refusal::Gone)?;
        user.sessions.clear();
        if !user.lasting {
            self.users.remove(id);
        }
        Ok(())
    }

    fn owner(&self, person: usize) -> Option<UserId> {
        self.users.iter().find(|(_, user)| user.identities.contains(&person)).map(|(id, _)| *id)
    }

    fn link(&mut self, id: &UserId, number: u32, person: usize) -> Result<u32, Refusal> {
        let now = self.now;
        if self.owner(person).is_some_and(|owner| owner != *id) {
            return Err(Refusal::IdentityInUse);
        }
        self.alive(id).ok_or(Refusal::Gone)?.link(number, person, now)
    }

    /// The user with a new session, and which.
    fn merge(&mut self, id: &UserId, number: u32, person: usize) -> Result<(UserId, u32), Refusal> {
        let now = self.now;
        let Some(owner) = self.owner(person).filter(|owner| owner != id) else {
            return self.link(id, number, person).map(|number| (*id, number));
        };
        let source = self.users.get(id).ok_or(Refusal::Gone)?;
        source.live(number, now)?;
        let source = self.alive(id).ok_or(Refusal::Gone)?.clone();
        if source.lasting {
            return Err(Refusal::NotAnonymous);
        }
        if source.disabled {
            return Err(Refusal::Disabled);
        }
        let target = self.users.get_mut(&owner).expect("the owner");
        let opened = target.open(SessionKind::V1, now)?;
        target.aliases.push(*id);
        if let Some(theirs) = source.document {
            let ours = target.document.get_or_insert_default();
            theirs.into_iter().for_each(|(key, number)| *ours.entry(key).or_default() += number);
        }
        if source.version > 0 {
            target.version = target.version.max(source.version) + 1;
        }
        self.users.remove(id);
        Ok((owner, opened))
    }

    fn remove(&mut self, id: &UserId) -> Result<(), Refusal> {
        self.alive(id).ok_or(Refusal::Gone)?;
        self.users.remove(id);
        Ok(())
    }
}

#[actix_rt::test]
async fn ten_thousand_random_operations_agree_with_a_plain_map() {
    let seed = std::env::var("PASSERBY_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut random = Random(seed);
    let deadly = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&deadly);
    let mut world = World::new(seed);
    world.policy.window_s = WINDOW_S as u32;
    world.policy.touch_granularity_s = GRANULARITY_S as u32;
    world.policy.session_lifetime_s = LIFETIME_S as u32;
    world.policy.max_sessions = MAX_SESSIONS;
    world.limits.max_live = 20;
    world.before_operation = Some(Arc::new(move |_, operation| {
        let aside = matches!(operation, Operation::Seen { .. });
        assert!(aside || !armed.swap(false, Ordering::SeqCst), "injected");
    }));
    let mut running = world.open();
    let mut linker = Arc::clone(&running.linker);
    let mut model = Model { now: 1_000_000, users: HashMap::new(), known: Vec::new() };
    let (mut expired, mut deaths, mut linked, mut merged, mut edited) = (0, 0, 0, 0, 0);
    for step in 0..OPERATIONS {
        let id = match model.known.len() {
            0 => UserId::from_bytes([1; 16]),
            n => model.known[n - 1 - random.below(n.min(40))],
        };
        let numbers: Vec<u32> =
            model.users.get(&id).map(|user| user.sessions.keys().copied().collect()).unwrap_or_default();
        let number = match numbers.len() {
            n if n > 0 && !random.one_in(5) => numbers[random.below(n)],
            _ => 1 + random.below(3) as u32,
        };
        let person = step / STEPS_PER_PERSON + random.below(PEOPLE);
        let handle = &running.handle;
        let refused = |result: Result<(), Refusal>| result.map_err(Error::Refused);
        let seen = format!("seed {seed}, step {step}, {id}");
        match random.below(128) {
            0..25 => {
                let kind = if random.one_in(2) { SessionKind::V1 } else { SessionKind::AppServices };
                let user = handle.login(kind, IdForm::TimeOrdered).await.unwrap();
                let mut fresh = User { last_seen: model.now, ..User::default() };
                assert_eq!(fresh.open(kind, model.now), Ok(1));
                assert!(model.users.insert(user.user, fresh).is_none());
                model.known.push(user.user);
            }
            25..50 => {
                let got = handle.check(&id, &SessionId::derive(&id, number), None).map(drop);
                assert_eq!(got, refused(model.check(&id, number)), "{seen}: check");
            }
            50..62 => {
                let counter = random.below(4) as u32;
                let got = handle.rotate(&id, number, counter).await;
                assert_eq!(got, model.rotate(&id, number, counter).map_err(Error::Refused), "{seen}: rotate {counter}");
            }
            62..67 => assert_eq!(handle.logout(&id, number).await, refused(model.end(&id, number)), "{seen}: logout"),
            67..69 => {
                assert_eq!(handle.delete(&id, Cause::DeletedByUser).await, refused(model.remove(&id)), "{seen}: delete")
            }
            69..71 => assert_eq!(handle.end_all(&id).await, refused(model.end_all(&id)), "{seen}: end all"),
            71..75 => {
                let on = random.one_in(2);
                let got = if on { handle.disable(&id).await } else { handle.enable(&id).await };
                let expected = model.alive(&id).map(|user| user.disabled = on).ok_or(Refusal::Gone);
                assert_eq!(got, refused(expected), "{seen}: disable {on}");
            }
            75..82 => {
                let got = handle.open_session(&id, SessionKind::V1, DeviceId::default(), None).await.map(|s| s.number);
                let now = model.now;
                let opened = model.alive(&id).ok_or(Refusal::Gone).map(|user| user.open(SessionKind::V1, now));
                let expected = opened.and_then(|opened| opened);
                assert_eq!(got, expected.map_err(Error::Refused), "{seen}: open");
            }
            82..94 => {
                let seconds = random.below(400) as u64;
                world.clock.advance_s(seconds);
                model.now += seconds;
            }
            94..96 => {
                let due = |user: &User| !user.lasting && model.now >= user.last_seen + WINDOW_S + 60;
                let expected = model.users.values().filter(|user| due(user)).count();
                assert_eq!(running.sweep().await, expected, "{seen}: sweep");
                expired += expected;
                let now = model.now;
                model.users.retain(|_, user| user.lasting || now < user.last_seen + WINDOW_S + 60);
            }
            96..97 => {
                deadly.store(true, Ordering::SeqCst);
                let got = handle.end_session(&id, number).await;
                if deadly.swap(false, Ordering::SeqCst) {
                    assert_eq!(got, Err(Error::Refused(Refusal::Gone)), "{seen}: only who is gone has no actor to die");
                } else {
                    deaths += 1;
                    assert_eq!(got, Err(Error::OutcomeUnknown), "{seen}: death");
                }
            }
            97..99 => running.new_generation().await,
            99..106 => {
                let got = linker.link(id, number, proof(person)).await.map(|session| session.number);
                let expected = model.link(&id, number, person);
                linked += usize::from(expected.is_ok());
                assert_eq!(got, expected.map_err(Error::Refused), "{seen}: link {person}");
            }
            106..111 => {
                let policy = MergePolicy { document: KeyRule::Sum, ..MergePolicy::default() };
                let opens = (SessionKind::V1, DeviceId::default());
                let got = match linker.merge(id, number, proof(person), opens, policy).await {
                    Ok(Joined::Linked(session) | Joined::Merged(session, _)) => Ok((session.user, session.number)),
                    Err(error) => Err(error),
                };
                let expected = model.merge(&id, number, person);
                merged += usize::from(expected.is_ok_and(|(survivor, _)| survivor != id));
                assert_eq!(got, expected.map_err(Error::Refused), "{seen}: merge {person}");
            }
            111..115 => {
                let now = model.now;
                let got = linker.log_in(proof(person), SessionKind::V1, DeviceId::default(), IdForm::TimeOrdered).await;
                match model.owner(person) {
                    Some(owner) => {
                        let opened = model.users.get_mut(&owner).expect("the owner").open(SessionKind::V1, now);
                        let expected = opened.map(|number| (owner, number)).map_err(Error::Refused);
                        assert_eq!(got.map(|session| (session.user, session.number)), expected, "{seen}: log in");
                    }
                    None => {
                        let made = got.unwrap_or_else(|error| panic!("{seen}: log in: {error}"));
                        let identities = vec![person];
                        let mut user = User { last_seen: now, lasting: true, identities, ..User::default() };
                        assert_eq!(user.open(SessionKind::V1, now), Ok(made.number), "{seen}: log in");
                        assert!(model.users.insert(made.user, user).is_none());
                        model.known.push(made.user);
                    }
                }
            }
            115..118 => {
                let got = linker.unlink(id, proof(person).identity).await;
                let expected = match model.alive(&id) {
                    None => Err(Refusal::Gone),
                    Some(user) if !user.identities.contains(&person) => Err(Refusal::NoSuchIdentity),
                    Some(user) if user.identities.len() == 1 => Err(Refusal::LastIdentity),
                    Some(user) => {
                        user.identities.retain(|identity| *identity != person);
                        Ok(())
                    }
                };
                assert_eq!(got, refused(expected), "{seen}: unlink {person}");
            }
            119..127 => {
                let key = || format!("k{}", step % 5);
                let small = |random: &mut Random| Value::from(random.below(100));
                let change = match random.below(8) {
                    0 => Change::Delete,
                    1 => Change::Put(
                        [(key(), small(&mut random)), ("k9".to_owned(), small(&mut random))].into_iter().collect(),
                    ),
                    2 => Change::Merge([(key(), Value::Null)].into_iter().collect()),
                    3 | 4 => Change::Merge([(key(), small(&mut random))].into_iter().collect()),
                    _ => Change::Increment { path: format!("/{}", key()), by: (random.below(9) as i64 - 4).into() },
                };
                edited += 1;
                let edit = handle.edit(&id, change.clone(), Expected::Anything, None, None);
                let got = edit.await.map(|edited| edited.version);
                let expected = model.alive(&id).ok_or(Refusal::Gone).and_then(|user| user.edit(&change));
                assert_eq!(got, expected.map_err(Error::Refused), "{seen}: edit {change:?}");
            }
            118..119 => {
                let now = model.now;
                let got = handle.end_others(&id, number).await;
                let expected = match model.alive(&id) {
                    None => Err(Refusal::Gone),
                    Some(user) => user.live(number, now).map(drop).map(|()| user.sessions.retain(|n, _| *n == number)),
                };
                assert_eq!(got, refused(expected), "{seen}: end others");
            }
            _ => {
                drop(linker);
                running.close();
                running = world.open();
                linker = Arc::clone(&running.linker);
            }
        }
        if step % 500 == 0 {
            agree(&running, &mut model, &seen);
        }
    }
    running.close();
    agree(&world.open(), &mut model, "at the end, after a restart");
    let counted = format!("{expired} expired, {deaths} deaths, {linked} linked, {merged} merged, {edited} edits");
    assert!(expired > 50 && deaths > 20 && linked > 30 && merged > 20 && edited > 500, "{counted}");
}

fn proof(person: usize) -> Proof {
    let identity = IdentityKey { provider: "custom-token".into(), external: person.to_string().into() };
    Proof::new(identity, "".into())
}

fn agree(running: &Running, model: &mut Model, context: &str) {
    assert_eq!(running.store.users(), model.users.len(), "{context}");
    for id in model.known.clone() {
        let expected = model.alive(&id).cloned();
        let state = running.handle.load(&id);
        assert_eq!(state.is_some(), expected.is_some(), "{context}: {id}");
        if let (Some(state), Some(expected)) = (state, expected) {
            let sessions: Vec<_> =
                state.sessions().into_iter().map(|s| (s.number, s.kind, s.refresh_counter)).collect();
            let wanted: Vec<_> = expected.sessions.iter().map(|(number, s)| (*number, s.kind, s.counter)).collect();
            assert_eq!(sessions, wanted, "{context}: {id}");
            let identities: Vec<_> = state.identities().iter().map(|identity| identity.key.clone()).collect();
            let wanted: Vec<_> = expected.identities.iter().map(|person| proof(*person).identity).collect();
            assert_eq!(identities, wanted, "{context}: {id}");
            let aliases: Vec<_> = state.aliases().iter().map(|alias| alias.id).collect();
            assert_eq!(aliases, expected.aliases, "{context}: {id}");
            let view = state.document.as_deref().map(|bytes| Document::view(bytes).expect("a document"));
            let data = view.and_then(|view| view.json).map(|json| serde_json::from_str(json).expect("JSON"));
            assert_eq!(
                (data, view.map_or(0, |view| view.version)),
                (expected.document, expected.version),
                "{context}: {id}"
            );
        }
        let survivor = model.users.iter().find(|(_, user)| user.aliases.contains(&id)).map(|(survivor, _)| *survivor);
        assert_eq!(running.store.survivor(&id), survivor, "{context}: {id}");
    }
    for person in 0..OPERATIONS / STEPS_PER_PERSON + PEOPLE {
        assert_eq!(running.store.resolve(&proof(person).identity), model.owner(person), "{context}: {person}");
    }
}
