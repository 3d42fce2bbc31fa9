//! Pages and searches, each asked in the world of few users and in that of many, in turn: the machine's other work hits both.

use passerby_actors::domain::{Clock, SessionId};
use passerby_actors::testkit::Random;
use passerby_benches::{AtMost, Bench, Report, Weight, quantile, resident_bytes};
use serde_json::{Value, json};

use crate::filters::{filters, page};
use crate::http::Served;
use crate::world::{self, Numbered, PROVIDERS, World};

/// What many users may cost, beside few.
const MOST: f64 = 3.0;

/// How long both took (microseconds), and what is said of it.
struct Compared<'a> {
    report: &'a mut Report,
    weight: Weight,
    worst: f64,
}

impl<'a> Compared<'a> {
    fn new(report: &'a mut Report, weight: Weight) -> Self {
        Self { report, weight, worst: 0.0 }
    }

    fn tell(&mut self, what: &str, took: [Vec<u64>; 2]) {
        self.tell_if(true, what, took);
    }

    fn tell_if(&mut self, has_target: bool, what: &str, took: [Vec<u64>; 2]) {
        let [few, many] = took.map(|mut took| quantile(&mut took, 0.5).max(1) as f64);
        let ratio = many / few;
        self.report.figure(what, many / 1000.0, "ms");
        let what = format!("{what}: ÷ 10 000 users");
        if has_target {
            self.worst = self.worst.max(ratio);
            self.report.targeted(what, ratio, "", AtMost(MOST), self.weight);
        } else {
            self.report.figure(what, ratio, "");
        }
    }

    fn tell_worst(self, what: &str) {
        let what = format!("{what}, the worst: ÷ 10 000 users");
        self.report.targeted(what, self.worst, "", AtMost(MOST), self.weight);
    }
}

/// Over HTTP. Answers how many answers were not as they must be.
pub(crate) async fn over_http(served: &mut [Served; 2], bench: &Bench, report: &mut Report) -> u64 {
    let (mut random, mut wrong) = (Random(3), 0);
    let rounds = if bench.smoke { 10 } else { 400 };
    // the index is built, and names are read
    for served in &*served {
        served.handle.user_counts().await.unwrap();
        wrong += u64::from(served.handle.find_holder("nobody@example.com").await.unwrap().is_some());
    }
    served.iter_mut().for_each(Served::connect);
    let weight = if bench.smoke { Weight::Speed } else { Weight::Bound };
    let mut compared = Compared::new(report, weight);
    for (name, filter) in filters() {
        for (from, deep, counted) in
            [("first page", false, ""), ("deep page", true, ""), ("counted", false, "&count=true")]
        {
            let mut took = [Vec::new(), Vec::new()];
            for round in 0..rounds {
                for (served, took) in served.iter_mut().zip(&mut took) {
                    let query = page(&filter, served.users, round, deep, &mut random);
                    let asked = format!("GET /v1/admin/users?{}{counted}", served.query(&query));
                    let answer = served.ask(&bench.clock, &asked, "");
                    took.push(answer.us);
                    // what the handle says is looked at below
                    if round < 2 {
                        let page = served.handle.users(query).await.unwrap();
                        let ids: Vec<Value> = page.users.iter().map(|user| user.id.to_string().into()).collect();
                        let said = answer.body["users"].as_array().unwrap().iter().map(|user| &user["user_id"]);
                        wrong += u64::from(!said.eq(&ids));
                    }
                }
            }
            // how many were seen between two times is counted user by user, which no page needs
            let has_target = counted.is_empty() || filter.seen.is_none();
            compared.tell_if(has_target, &format!("HTTP, {from}, {name}"), took);
        }
    }
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (served, took) in served.iter_mut().zip(&mut took) {
            took.push(served.ask(&bench.clock, "GET /v1/admin/users/counts", "").us);
        }
    }
    compared.tell("HTTP, counts of each kind", took);
    for by in ["user-id", "identity", "session-or-key", "email", "access-token", "nothing"] {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (served, took) in served.iter_mut().zip(&mut took) {
                let users = served.users;
                // an account of the provider that the server has
                let number = random.next() % (users.0 / 15) * 15 + 5;
                let id = users.id(number);
                let text = match by {
                    "user-id" => id.to_string(),
                    "identity" => world::external(number),
                    "session-or-key" => SessionId::derive(&id, 1).to_string(),
                    "email" => world::email(number),
                    "access-token" => served.access_token(id),
                    _ => world::email(users.0 + number),
                };
                let answer = served.find(&bench.clock, &text);
                took.push(answer.us);
                let said = &answer.body["users"][0];
                let expected =
                    if by == "nothing" { [Value::Null, Value::Null] } else { [json!(id.to_string()), json!(by)] };
                wrong += u64::from([&said["user_id"], &said["found_by"]] != expected.each_ref());
            }
        }
        compared.tell(&format!("HTTP, found by {by}"), took);
    }
    compared.tell_worst("HTTP");
    wrong
}

/// The clock tells microseconds, and a page may take less: through the handle so many are asked in a row.
const BURST: usize = 32;

/// Pages through the handle. Answers how many were not as they must be.
pub(crate) async fn pages(few: &World, many: &World, is_smoke: bool, report: &mut Report) -> u64 {
    let (mut random, mut wrong) = (Random(1), 0);
    let rounds = if is_smoke { 2 } else { 60 };
    let mut compared = Compared::new(report, Weight::Speed);
    for (name, filter) in filters() {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (world, took) in [few, many].into_iter().zip(&mut took) {
                let query = |at: usize| page(&filter, world.users, at, at % 4 > 1, &mut random);
                let queries: Vec<_> = (0..BURST).map(query).collect();
                let mut pages = Vec::with_capacity(BURST);
                let began_us = world.clock.monotonic_us();
                for query in queries {
                    let newest_first = query.newest_first;
                    pages.push((world.handle.users(query).await.unwrap().users, newest_first));
                }
                took.push(world.clock.monotonic_us() - began_us);
                for (users, newest_first) in pages {
                    let created = users.iter().map(|user| user.id.created_ms());
                    wrong += u64::from(!if newest_first { created.rev().is_sorted() } else { created.is_sorted() });
                }
            }
        }
        compared.tell(&format!("{BURST} pages by the handle, {name}"), took);
    }
    compared.tell_worst("pages by the handle");
    wrong
}

/// Searches through the handle. Answers how many did not find whom they must.
pub(crate) async fn finds(few: &World, many: &World, is_smoke: bool, report: &mut Report) -> u64 {
    let (mut random, mut wrong) = (Random(2), 0);
    let rounds = if is_smoke { 2 } else { 60 };
    // the first search reads every user, and keeps what it found until the index is let go
    let before = resident_bytes("self");
    let began_us = many.clock.monotonic_us();
    let session = |number: u64, users: Numbered| SessionId::derive(&users.id(number), 1).to_string();
    for world in [many, few] {
        // an anonymous user, with the session that began with the user
        let found = world.handle.find_holder(&session(1, world.users)).await.unwrap();
        wrong += u64::from(found.map(|(user, _)| user.id) != Some(world.users.id(1)));
        if world.users.0 == many.users.0 {
            report.figure("the first search for a session", (many.clock.monotonic_us() - began_us) as f64 / 1e6, "s");
            let bytes = resident_bytes("self").saturating_sub(before);
            report.figure("memory of a user that it leaves", bytes as f64 / many.users.0 as f64, "B");
        }
    }
    let mut compared = Compared::new(report, Weight::Speed);
    for by in ["id", "identity", "session", "e-mail address"] {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (world, took) in [few, many].into_iter().zip(&mut took) {
                let users = world.users;
                let text = |number: u64| match by {
                    "id" => users.id(number).to_string(),
                    "identity" => world::external(number),
                    "session" => session(number, users),
                    _ => world::email(number),
                };
                let numbers: Vec<_> = (0..BURST).map(|_| random.next() % (users.0 / 5) * 5).collect();
                let texts: Vec<_> = numbers.iter().map(|number| text(*number)).collect();
                let mut found = Vec::with_capacity(BURST);
                let began_us = world.clock.monotonic_us();
                for text in &texts {
                    found.push(match by {
                        "id" | "identity" => world.handle.find(text, &PROVIDERS).first().map(|(id, _)| *id),
                        _ => world.handle.find_holder(text).await.unwrap().map(|(user, _)| user.id),
                    });
                }
                took.push(world.clock.monotonic_us() - began_us);
                let is_wrong = |(number, found): &(&u64, &Option<_>)| **found != Some(users.id(**number));
                wrong += numbers.iter().zip(&found).filter(is_wrong).count() as u64;
            }
        }
        compared.tell(&format!("{BURST} searches by the handle, by {by}"), took);
    }
    compared.tell_worst("searches by the handle");
    wrong
}
