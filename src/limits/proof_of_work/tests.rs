//! Which proofs are taken, and how often.

use altcha::{Solution, SolveChallengeOptions, solve_challenge};
use passerby_actors::system::SystemEntropy;

use super::*;

/// Long ago, by the machine's clock: it is not asked.
const WALL_S: u64 = 1_000_000_000;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn challenges() -> (Challenges, SystemEntropy) {
    let entropy = SystemEntropy::default();
    (Challenges::new(&entropy), entropy)
}

fn proof(challenge: &Challenge, solution: &Solution) -> String {
    let payload = Payload { challenge: challenge.clone(), solution: solution.clone() };
    STANDARD.encode(serde_json::to_vec(&payload).unwrap())
}

fn solve(challenge: &Challenge) -> Solution {
    solve_challenge(SolveChallengeOptions::new(challenge)).unwrap().unwrap()
}

/// S35: bound to the network and to the time, and good once.
#[test]
fn a_proof_is_taken_once_from_its_network_and_in_its_time() {
    let (challenges, entropy) = challenges();
    let (here, there) = (address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
    let challenge = challenges.issue(here, 0, 1000, WALL_S, &entropy).unwrap();
    let solution = solve(&challenge);
    let proof = proof(&challenge, &solution);
    assert_eq!(challenge.parameters.expires_at, Some(1_000_000_000 + i64::from(CHALLENGE_S)));
    assert_eq!(challenges.take(there, &proof, 1000), Err(ProofError::Network));
    assert_eq!(challenges.take(here, &proof, 1000 + CHALLENGE_S), Err(ProofError::Late));
    let neighbour = address("2001:db8:0:1:ffff::9");
    assert_eq!(challenges.take(neighbour, &proof, 1000 + CHALLENGE_S - 1), Ok(()));
    for later in [1000, 1000 + CHALLENGE_S - 1] {
        assert_eq!(challenges.take(here, &proof, later), Err(ProofError::Used));
    }
}

#[test]
fn what_was_changed_or_is_not_ours_is_refused() {
    let (challenges, entropy) = challenges();
    let here = address("203.0.113.9");
    let challenge = challenges.issue(here, 0, 1000, WALL_S, &entropy).unwrap();
    let solution = solve(&challenge);
    let take = |challenge: &Challenge, solution: &Solution| challenges.take(here, &proof(challenge, solution), 1000);

    let other = Solution { derived_key: "00".repeat(KEY_BYTES), ..solution.clone() };
    assert_eq!(take(&challenge, &other), Err(ProofError::Wrong));
    let mut later = challenge.clone();
    later.parameters.data.as_mut().unwrap().insert(UNTIL.to_owned(), Value::from(1_000_000));
    let mut easier = challenge.clone();
    easier.parameters.key_prefix = "00".to_owned();
    let mut unsigned = challenge.clone();
    unsigned.signature = None;
    let mut costly = challenge.clone();
    costly.parameters.cost = u32::MAX;
    costly.parameters.key_signature = None;
    let mut ageless = challenge.clone();
    ageless.parameters.expires_at = None;
    for changed in [later, easier, unsigned, costly, ageless] {
        assert_eq!(take(&changed, &solution), Err(ProofError::Foreign));
    }
    let elsewhere = Challenges::new(&entropy).issue(here, 0, 1000, WALL_S, &entropy).unwrap();
    assert_eq!(take(&elsewhere, &solve(&elsewhere)), Err(ProofError::Foreign));
    for text in ["", "e30=", "not base64", &STANDARD.encode("[]")] {
        assert_eq!(challenges.take(here, text, 1000), Err(ProofError::Form));
    }
    assert_eq!(take(&challenge, &solution), Ok(()), "and the right one still is");
}

#[test]
fn the_work_doubles() {
    let (challenges, entropy) = challenges();
    for (doublings, range) in [(0, 200..400), (1, 400..800), (MOST_DOUBLINGS, 12_800..25_600), (99, 12_800..25_600)] {
        let challenge = challenges.issue(address("203.0.113.9"), doublings, 0, WALL_S, &entropy).unwrap();
        let from = SolveChallengeOptions { counter_start: range.start, ..SolveChallengeOptions::new(&challenge) };
        // starting where the number may first be, only to be quick
        let found = solve_challenge(from).unwrap().unwrap().counter;
        assert!(range.contains(&found), "{doublings}: {found}");
    }
}

#[test]
fn only_so_many_are_remembered_and_the_old_are_forgotten() {
    let mut solved = Solved::default();
    assert!(solved.first(1, 1000, 2) && solved.first(2, 1000, 2));
    assert!(!solved.first(3, 1000, 2), "no room");
    assert!(!solved.first(1, 1000 + CHALLENGE_S, 2), "the older half still knows it");
    assert!(solved.first(3, 1000 + CHALLENGE_S, 2));
    assert!(solved.first(1, 1000 + 3 * CHALLENGE_S, 2), "when its challenge is long too old");
}
