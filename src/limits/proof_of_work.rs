//! Proofs of work: what a client whose network has used up a budget may do for a little computing time (S35).
//!
//! In the format of ALTCHA (proof of work version 2, <https://altcha.org>), whose widgets and libraries can solve them: the key that
//! PBKDF2 derives from a nonce and a secret small number is given in part, and a client that tries the numbers finds it. Nothing is
//! stored for a challenge: it is signed, with what it is bound to, and only those that were solved are remembered, until they
//! are too old to be taken. The secrets, and with them all challenges, end with the process.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use altcha::types::CounterMode;
use altcha::{Challenge, ChallengeParameters, HmacAlgorithm, Payload, VerifySolutionOptions};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use passerby_actors::domain::{Entropy, ServiceTime};
use serde_json::Value;
use zeroize::Zeroizing;

use super::network::Network;

/// How long a challenge is good (seconds).
pub const CHALLENGE_S: u32 = 300;
/// Rounds of PBKDF2 for each number that is tried: 0.1 ms here, to create a challenge, and as much for a bot; a browser takes
/// about twice as long.
const ROUNDS: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// The secret number of the easiest challenge lies between half of this and this.
const NUMBERS: u32 = 400;
/// How often the work doubles at most.
pub const MOST_DOUBLINGS: u32 = 6;
/// Solved challenges that are remembered at a time, about 32 bytes each, twice: more are not taken.
const MOST_SOLVED: usize = 1 << 20;

const KEY_BYTES: usize = 32;
/// In the signed data: whose challenge it is.
const NETWORK: &str = "network";
/// In the signed data: until when it is good, in seconds of service.
const UNTIL: &str = "until";

/// Why a proof of work was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not in the form of ALTCHA.
    #[error("the proof of work is not in the form of ALTCHA: base64 of a JSON object with challenge and solution")]
    Form,
    /// The challenge was not issued here, since the last start.
    #[error("the proof of work is of a challenge that this server did not issue")]
    Foreign,
    /// The challenge was a different network's.
    #[error("the proof of work is of a different network's challenge")]
    Network,
    /// The challenge is too old.
    #[error("the challenge has expired: it is good for {CHALLENGE_S} s from when it was given out")]
    Late,
    /// The number is wrong.
    #[error("the proof of work does not solve its challenge")]
    Wrong,
    /// It was taken before, or too many were taken at this time.
    #[error("the proof of work was used before")]
    Used,
}

/// Nonces of challenges that were solved, for as long as they could be presented again.
#[derive(Default)]
struct Solved {
    newer: HashSet<u128>,
    older: HashSet<u128>,
    /// When `newer` was begun.
    since: ServiceTime,
}

impl Solved {
    /// Whether it is new, and there is room to remember it.
    fn first(&mut self, nonce: u128, now: ServiceTime, most: usize) -> bool {
        let age_s = now.saturating_sub(self.since);
        if age_s >= CHALLENGE_S {
            let newer = std::mem::take(&mut self.newer);
            self.older = if age_s < 2 * CHALLENGE_S { newer } else { HashSet::new() };
            self.since = now;
        }
        self.newer.len() < most && !self.older.contains(&nonce) && self.newer.insert(nonce)
    }
}

/// Issues challenges and accepts their proofs, each once.
pub struct Challenges {
    /// Signs challenges.
    secret: Zeroizing<String>,
    /// Signs their solutions, so that taking a proof needs no PBKDF2.
    key_secret: Zeroizing<String>,
    solved: Mutex<Solved>,
    issued: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
}

/// What became of challenges so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Issued.
    pub issued: u64,
    /// Proofs taken.
    pub taken: u64,
    /// Proofs refused.
    pub refused: u64,
}

impl Challenges {
    /// With secrets of their own.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let secret = || {
            let mut bytes = Zeroizing::new([0; 32]);
            entropy.fill(bytes.as_mut());
            Zeroizing::new(hex(bytes.as_ref()))
        };
        Self {
            secret: secret(),
            key_secret: secret(),
            solved: Mutex::default(),
            issued: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// What became of them so far.
    pub fn counts(&self) -> Counts {
        let [issued, taken, refused] =
            [&self.issued, &self.taken, &self.refused].map(|counter| counter.load(Ordering::Relaxed));
        Counts { issued, taken, refused }
    }

    /// How many solved ones are remembered now.
    pub fn remembered(&self) -> usize {
        let solved = self.solved.lock();
        solved.newer.len() + solved.older.len()
    }

    /// A challenge for the network of this address. Each doubling, up to [`MOST_DOUBLINGS`], doubles the work. `wall_s` is
    /// Unix time in seconds: widgets look at it, and ask for a new challenge in time; what counts here is the service clock.
    ///
    /// # Errors
    /// The library's; none is known.
    pub fn issue(
        &self,
        client: IpAddr,
        doublings: u32,
        now: ServiceTime,
        wall_s: u64,
        entropy: &dyn Entropy,
    ) -> Result<Challenge, altcha::Error> {
        let mut random = [0; 16 + 16 + 4];
        entropy.fill(&mut random);
        let (nonce, rest) = random.split_at(16);
        let (salt, number) = rest.split_at(16);
        let half = (NUMBERS << doublings.min(MOST_DOUBLINGS)) / 2;
        let number = number.iter().fold(0, |all, byte| all << 8 | u32::from(*byte));
        let password = [nonce, &(half + number % half).to_be_bytes()].concat();
        let mut key = [0; KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, &password, &mut key);
        let mut parameters = ChallengeParameters {
            algorithm: "PBKDF2/SHA-256".to_owned(),
            cost: ROUNDS.get(),
            data: Some(BTreeMap::from([
                (NETWORK.to_owned(), Value::from(self.mark(client))),
                (UNTIL.to_owned(), Value::from(now.saturating_add(CHALLENGE_S))),
            ])),
            expires_at: i64::try_from(wall_s.saturating_add(CHALLENGE_S.into())).ok(),
            key_length: KEY_BYTES,
            key_prefix: hex(&key[..KEY_BYTES / 2]),
            key_signature: None,
            memory_cost: None,
            nonce: hex(nonce),
            parallelism: None,
            salt: hex(salt),
        };
        self.issued.fetch_add(1, Ordering::Relaxed);
        altcha::sign_challenge(
            &HmacAlgorithm::Sha256,
            &mut parameters,
            Some(&key),
            &self.secret,
            Some(self.key_secret.as_str()),
        )
    }

    /// Takes a proof: what a solver of ALTCHA sends, base64 of its payload.
    ///
    /// # Errors
    /// [`ProofError`]; the client can then ask for a new challenge.
    pub fn take(&self, client: IpAddr, proof: &str, now: ServiceTime) -> Result<(), ProofError> {
        let taken = self.check(client, proof, now);
        if taken.is_ok() { &self.taken } else { &self.refused }.fetch_add(1, Ordering::Relaxed);
        taken
    }

    fn check(&self, client: IpAddr, proof: &str, now: ServiceTime) -> Result<(), ProofError> {
        let payload: Payload = STANDARD
            .decode(proof)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or(ProofError::Form)?;
        let given = &payload.challenge;
        let presented = given.signature.as_deref().unwrap_or_default();
        let mut parameters = given.parameters.clone();
        let signed = self.sign(&mut parameters).map_err(|_| ProofError::Form)?;
        let expected = signed.signature.as_deref().unwrap_or_default();
        if verify_slices_are_equal(expected.as_bytes(), presented.as_bytes()).is_err() {
            return Err(ProofError::Foreign);
        }
        // the library would ask the machine's clock how old it is
        parameters.expires_at = None;
        let ageless = self.sign(&mut parameters).map_err(|_| ProofError::Form)?;
        let options = VerifySolutionOptions {
            challenge: &ageless,
            solution: &payload.solution,
            counter_mode: CounterMode::Uint32,
            hmac_algorithm: HmacAlgorithm::Sha256,
            hmac_key_signature_secret: Some(self.key_secret.to_string()),
            hmac_signature_secret: self.secret.to_string(),
        };
        let verified = altcha::verify_solution(options).map_err(|_| ProofError::Form)?;
        // genuine from here on
        let data = |name: &str| parameters.data.as_ref().and_then(|data| data.get(name));
        if data(NETWORK).and_then(Value::as_str) != Some(self.mark(client).as_str()) {
            return Err(ProofError::Network);
        }
        if data(UNTIL).and_then(Value::as_u64).is_none_or(|until| u64::from(now) >= until) {
            return Err(ProofError::Late);
        }
        if !verified.verified {
            return Err(ProofError::Wrong);
        }
        let nonce = u128::from_str_radix(&parameters.nonce, 16).map_err(|_| ProofError::Form)?;
        if self.solved.lock().first(nonce, now, MOST_SOLVED) { Ok(()) } else { Err(ProofError::Used) }
    }

    fn sign(&self, parameters: &mut ChallengeParameters) -> Result<Challenge, altcha::Error> {
        altcha::sign_challenge(&HmacAlgorithm::Sha256, parameters, None, &self.secret, None)
    }

    /// By which a challenge knows its network, without naming it.
    fn mark(&self, client: IpAddr) -> String {
        let network = Network::of(client);
        let bytes = network.as_ref().map_or(&[][..], |network| network.as_bytes());
        hex(&digest(&SHA256, &[self.secret.as_bytes(), b"network", bytes].concat()).as_ref()[..8])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
