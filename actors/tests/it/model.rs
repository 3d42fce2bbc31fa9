//! Ten thousand random operations against a plain HashMap that says what must be true.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passerby_actors::domain::{DeviceId, Refusal, SessionId, SessionKind, UserId};
use passerby_actors::handle::{Error, IdForm};
use passerby_actors::store::Store;

use crate::support::{Random, Running, World};

const OPERATIONS: usize = 10_000;
const WINDOW_S: u64 = 10_000;
const GRANULARITY_S: u64 = 100;

#[derive(Debug, Clone, Default)]
struct User {
    last_seen: u64,
    disabled: bool,
    highest: u32,
    /// number → kind and counter
    sessions: BTreeMap<u32, (SessionKind, u16)>,
}

struct Model {
    now: u64,
    users: HashMap<UserId, User>,
    /// everybody ever, so that the dead are asked for too
    known: Vec<UserId>,
}

impl Model {
    fn alive(&mut self, id: &UserId) -> Option<&mut User> {
        let now = self.now;
        self.users.get_mut(id).filter(|user| now < user.last_seen + WINDOW_S)
    }

    fn check(&mut self, id: &UserId, number: u32) -> Result<(), Refusal> {
        let now = self.now;
        let user = self.alive(id).ok_or(Refusal::Gone)?;
        if user.disabled {
            return Err(Refusal::Disabled);
        }
        user.sessions.get(&number).ok_or(Refusal::SessionEnded)?;
        if now - user.last_seen >= GRANULARITY_S {
            user.last_seen = now;
        }
        Ok(())
    }

    fn rotate(&mut self, id: &UserId, number: u32, counter: u16) -> Result<u16, Refusal> {
        let user = self.alive(id).ok_or(Refusal::Gone)?;
        if user.disabled {
            return Err(Refusal::Disabled);
        }
        let (kind, current) = user.sessions.get_mut(&number).ok_or(Refusal::SessionEnded)?;
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
        Ok(self.users[id].sessions[&number].1)
    }

    fn end(&mut self, id: &UserId, number: u32) -> Result<(), Refusal> {
        let user = self.alive(id).ok_or(Refusal::Gone)?;
        user.sessions.remove(&number).ok_or(Refusal::SessionEnded)?;
        if user.sessions.is_empty() {
            self.users.remove(id);
        }
        Ok(())
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
    world.limits.max_live = 20;
    world.before_operation = Some(Arc::new(move |_, _| assert!(!armed.swap(false, Ordering::SeqCst), "injected")));
    let mut running = world.open();
    let mut model = Model { now: 1_000_000, users: HashMap::new(), known: Vec::new() };
    let (mut expired, mut deaths) = (0, 0);
    for step in 0..OPERATIONS {
        let id = match model.known.len() {
            0 => UserId::from_bytes([1; 16]),
            n => model.known[n - 1 - random.below(n.min(40))],
        };
        let number = 1 + random.below(3) as u32;
        let handle = &running.handle;
        let refused = |result: Result<(), Refusal>| result.map_err(Error::Refused);
        let seen = format!("seed {seed}, step {step}, {id}");
        match random.below(100) {
            0..25 => {
                let kind = if random.one_in(2) { SessionKind::V1 } else { SessionKind::AppServices };
                let user = handle.login(kind, IdForm::TimeOrdered).await.unwrap();
                let fresh =
                    User { last_seen: model.now, highest: 1, sessions: [(1, (kind, 0))].into(), ..User::default() };
                assert!(model.users.insert(user.user, fresh).is_none());
                model.known.push(user.user);
            }
            25..50 => {
                let got = handle.check(&id, &SessionId::derive(&id, number), None).map(drop);
                assert_eq!(got, refused(model.check(&id, number)), "{seen}: check");
            }
            50..62 => {
                let counter = random.below(4) as u16;
                let got = handle.rotate(&id, number, counter).await;
                assert_eq!(got, model.rotate(&id, number, counter).map_err(Error::Refused), "{seen}: rotate {counter}");
            }
            62..67 => assert_eq!(handle.logout(&id, number).await, refused(model.end(&id, number)), "{seen}: logout"),
            67..69 => assert_eq!(handle.delete(&id).await, refused(model.remove(&id)), "{seen}: delete"),
            69..71 => assert_eq!(handle.end_all(&id).await, refused(model.remove(&id)), "{seen}: end all"),
            71..75 => {
                let on = random.one_in(2);
                let got = if on { handle.disable(&id).await } else { handle.enable(&id).await };
                let expected = model.alive(&id).map(|user| user.disabled = on).ok_or(Refusal::Gone);
                assert_eq!(got, refused(expected), "{seen}: disable {on}");
            }
            75..82 => {
                let got = handle.open_session(&id, SessionKind::V1, DeviceId::default()).await.map(|s| s.number);
                let expected = match model.alive(&id) {
                    None => Err(Refusal::Gone),
                    Some(user) if user.disabled => Err(Refusal::Disabled),
                    Some(user) => {
                        user.highest += 1;
                        user.sessions.insert(user.highest, (SessionKind::V1, 0));
                        Ok(user.highest)
                    }
                };
                assert_eq!(got, expected.map_err(Error::Refused), "{seen}: open");
            }
            82..94 => {
                let seconds = random.below(400) as u64;
                world.clock.advance_s(seconds);
                model.now += seconds;
            }
            94..96 => {
                let due = |user: &User| model.now >= user.last_seen + WINDOW_S + 60;
                let expected = model.users.values().filter(|user| due(user)).count();
                assert_eq!(running.sweep().await, expected, "{seen}: sweep");
                expired += expected;
                let now = model.now;
                model.users.retain(|_, user| now < user.last_seen + WINDOW_S + 60);
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
            _ => {
                running.close();
                running = world.open();
            }
        }
        if step % 500 == 0 {
            agree(&running, &mut model, &seen);
        }
    }
    running.close();
    agree(&world.open(), &mut model, "at the end, after a restart");
    assert!(expired > 50 && deaths > 20, "{expired} expired, {deaths} deaths");
}

fn agree(running: &Running, model: &mut Model, context: &str) {
    assert_eq!(running.store.registry().len(), model.users.len(), "{context}");
    for id in model.known.clone() {
        let expected = model.alive(&id).cloned();
        let state = running.handle.load(&id);
        assert_eq!(state.is_some(), expected.is_some(), "{context}: {id}");
        if let (Some(state), Some(expected)) = (state, expected) {
            let sessions: BTreeMap<_, _> =
                state.sessions().into_iter().map(|s| (s.number, (s.kind, s.refresh_counter))).collect();
            assert_eq!(sessions, expected.sessions, "{context}: {id}");
        }
    }
}
