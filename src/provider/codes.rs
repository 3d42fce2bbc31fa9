//! One-time codes: texts that are worth something once, kept by their hash alone.
//!
//! [`Codes`] keeps them in memory, and they end with the process. What must outlive it (the tokens of confirmation and
//! reset mails) is stored by the caller, who takes a [`Code`] and its [`CodeHash`] from [`Code::new`] alone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use passerby_actors::domain::{Entropy, ServiceTime};
use zeroize::Zeroizing;

/// Random bytes of a code: 192 bits (S1 asks for 128), 32 characters.
const CODE_BYTES: usize = 24;
const CODE_CHARS: usize = CODE_BYTES / 3 * 4;

/// What a code is good for; a code of one kind is worth nothing as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// Makes another session of the same user.
    Transfer,
    /// Confirms an e-mail address.
    Confirm,
    /// Sets a new password.
    Reset,
    /// Completes a login that came back from an OpenID provider.
    Login,
    /// Binds the answer of an OpenID provider to its request.
    OidcState,
    /// Opens a socket.
    Socket,
}

impl CodeKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Transfer, Self::Confirm, Self::Reset, Self::Login, Self::OidcState, Self::Socket];

    /// What its codes begin with, so that they are recognised where they do not belong.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Transfer => "psbt_",
            Self::Confirm => "psbc_",
            Self::Reset => "psbr_",
            Self::Login => "psbl_",
            Self::OidcState => "psbo_",
            Self::Socket => "psbs_",
        }
    }
}

/// A code as its bearer sees it: prefix and 32 characters of base64url. Wiped when dropped; shown only by
/// [`Code::text`].
pub struct Code(Zeroizing<String>);

impl Code {
    /// A new code, and what to keep of it.
    pub fn new(kind: CodeKind, entropy: &dyn Entropy) -> (Self, CodeHash) {
        let mut bytes = Zeroizing::new([0; CODE_BYTES]);
        entropy.fill(bytes.as_mut());
        let mut text = Zeroizing::new(String::with_capacity(kind.prefix().len() + CODE_CHARS));
        text.push_str(kind.prefix());
        URL_SAFE_NO_PAD.encode_string(bytes.as_ref(), &mut text);
        let hash = CodeHash::of(&text);
        (Self(text), hash)
    }

    /// The code in clear, for its bearer. It is safe in a URL's query as it is.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

/// SHA-256 of a code with its prefix. From this no code can be made (S2); a slow hash is not needed, because nobody can
/// go through 2^192 codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeHash([u8; 32]);

impl CodeHash {
    /// As it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Of a text that claims to be a code of this kind; `None` if it does not even look like one.
    pub fn parse(kind: CodeKind, text: &str) -> Option<Self> {
        let body = text.strip_prefix(kind.prefix())?;
        let holds = body.len() == CODE_CHARS && body.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
        holds.then(|| Self::of(text))
    }

    /// Whether `text` is the code of this kind that this is the hash of. The comparison takes the same time wherever
    /// they differ.
    pub fn verify(&self, kind: CodeKind, text: &str) -> bool {
        Self::parse(kind, text).is_some_and(|given| verify_slices_are_equal(&given.0, &self.0).is_ok())
    }

    fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(hash)
    }
}

/// How many codes there may be, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A code is good for this long (seconds of service).
    pub lifetime_s: u32,
    /// Codes alive at a time.
    pub most: usize,
    /// Of them, of one owner; from then on a new one ends the owner's oldest. At least 1.
    pub most_per_owner: usize,
}

/// There are too many codes already: answer 503 and ask to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many codes are waiting to be used")]
pub struct Full;

/// The living codes of one kind. `P` is what a code is worth, `O` whose it is.
pub struct Codes<O, P> {
    kind: CodeKind,
    limits: Limits,
    inner: Mutex<Inner<O, P>>,
}

struct Inner<O, P> {
    by_hash: HashMap<CodeHash, Entry<O, P>>,
    /// In the order in which they were issued, which is that in which they expire.
    by_number: BTreeMap<u64, CodeHash>,
    /// An owner's codes, oldest first; owners without codes are not in it.
    by_owner: HashMap<O, VecDeque<u64>>,
    next: u64,
}

struct Entry<O, P> {
    number: u64,
    owner: Option<O>,
    expires_at: ServiceTime,
    payload: P,
}

impl<O: Clone + Eq + Hash, P> Codes<O, P> {
    /// None yet.
    pub fn new(kind: CodeKind, limits: Limits) -> Self {
        let inner = Inner { by_hash: HashMap::new(), by_number: BTreeMap::new(), by_owner: HashMap::new(), next: 0 };
        Self { kind, limits, inner: Mutex::new(inner) }
    }

    /// Gives out a code. Without an owner only the total is bounded.
    ///
    /// # Errors
    /// [`Full`]: nobody's code is ended for somebody else's.
    pub fn issue(&self, owner: Option<O>, payload: P, now: ServiceTime, entropy: &dyn Entropy) -> Result<Code, Full> {
        let (code, hash) = Code::new(self.kind, entropy);
        self.put(hash, owner, payload, now)?;
        Ok(code)
    }

    /// Keeps a code of this kind that was issued elsewhere. Answers whether there was room for it.
    pub fn keep(&self, text: &str, owner: O, payload: P, now: ServiceTime) -> bool {
        let hash = CodeHash::parse(self.kind, text);
        hash.is_some_and(|hash| self.put(hash, Some(owner), payload, now).is_ok())
    }

    fn put(&self, hash: CodeHash, owner: Option<O>, payload: P, now: ServiceTime) -> Result<(), Full> {
        let mut inner = self.inner.lock();
        inner.end_expired(now);
        if let Some(owner) = &owner {
            inner.make_room(owner, self.limits.most_per_owner);
        }
        if inner.by_hash.len() >= self.limits.most {
            return Err(Full);
        }
        let number = inner.next;
        inner.next += 1;
        inner.by_number.insert(number, hash);
        if let Some(owner) = owner.clone() {
            inner.by_owner.entry(owner).or_default().push_back(number);
        }
        let expires_at = now.saturating_add(self.limits.lifetime_s);
        inner.by_hash.insert(hash, Entry { number, owner, expires_at, payload });
        Ok(())
    }

    /// What the code is worth, once. `None` for whatever is not a living code.
    pub fn redeem(&self, text: &str, now: ServiceTime) -> Option<P> {
        let hash = CodeHash::parse(self.kind, text)?;
        let mut inner = self.inner.lock();
        inner.end_expired(now);
        inner.remove(&hash).map(|entry| entry.payload)
    }

    /// What the code is worth, without using it up.
    pub fn peek(&self, text: &str, now: ServiceTime) -> Option<P>
    where
        P: Clone,
    {
        let hash = CodeHash::parse(self.kind, text)?;
        let mut inner = self.inner.lock();
        inner.end_expired(now);
        inner.by_hash.get(&hash).map(|entry| entry.payload.clone())
    }

    /// Ends every code of this owner: the user is gone, or has logged out everywhere.
    pub fn end_all_of(&self, owner: &O) {
        self.inner.lock().make_room(owner, 1);
    }

    /// How many are alive.
    pub fn count(&self, now: ServiceTime) -> usize {
        let mut inner = self.inner.lock();
        inner.end_expired(now);
        inner.by_hash.len()
    }
}

impl<O: Eq + Hash, P> Inner<O, P> {
    fn end_expired(&mut self, now: ServiceTime) {
        while let Some(hash) = self.by_number.first_key_value().map(|(_, hash)| *hash) {
            if self.by_hash.get(&hash).is_some_and(|entry| entry.expires_at > now) {
                break;
            }
            self.remove(&hash);
        }
    }

    /// Ends the owner's oldest until one more makes at most `most`.
    fn make_room(&mut self, owner: &O, most: usize) {
        while let Some(oldest) =
            self.by_owner.get(owner).filter(|codes| codes.len() >= most).and_then(|codes| codes.front())
        {
            let Some(hash) = self.by_number.get(oldest).copied() else { break };
            self.remove(&hash);
        }
    }

    fn remove(&mut self, hash: &CodeHash) -> Option<Entry<O, P>> {
        let entry = self.by_hash.remove(hash)?;
        self.by_number.remove(&entry.number);
        if let Some(owner) = &entry.owner
            && let Some(codes) = self.by_owner.get_mut(owner)
        {
            codes.retain(|number| *number != entry.number);
            if codes.is_empty() {
                self.by_owner.remove(owner);
            }
        }
        Some(entry)
    }
}

impl<O, P> fmt::Debug for Codes<O, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codes").field("kind", &self.kind).field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::thread;

    use passerby_actors::system::SystemEntropy;
    use proptest::prelude::*;

    use super::*;

    const NOW: ServiceTime = 315_360_000;
    const LIMITS: Limits = Limits { lifetime_s: 120, most: 100, most_per_owner: 3 };

    fn codes() -> Codes<&'static str, u32> {
        Codes::new(CodeKind::Transfer, LIMITS)
    }

    fn issue(codes: &Codes<&'static str, u32>, owner: &'static str, payload: u32, now: ServiceTime) -> Code {
        codes.issue(Some(owner), payload, now, &SystemEntropy::default()).unwrap()
    }

    #[test]
    fn a_code_is_worth_something_once() {
        let codes = codes();
        let (one, two) = (issue(&codes, "a", 1, NOW), issue(&codes, "b", 2, NOW));
        assert_eq!(codes.redeem(two.text(), NOW), Some(2));
        assert_eq!(codes.redeem(two.text(), NOW), None);
        assert_eq!(codes.redeem(one.text(), NOW), Some(1));
        assert_eq!(codes.count(NOW), 0);
    }

    #[test]
    fn of_many_who_redeem_it_at_once_one_gets_it() {
        let codes = Arc::new(codes());
        for round in 0..50 {
            let code = issue(&codes, "a", round, NOW).text().to_owned();
            let redeem = |codes: Arc<Codes<_, _>>, code: String| move || codes.redeem(&code, NOW);
            let threads: Vec<_> = (0..4).map(|_| thread::spawn(redeem(Arc::clone(&codes), code.clone()))).collect();
            let won: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
            assert_eq!(won, [round]);
        }
    }

    #[test]
    fn it_is_worth_nothing_from_its_last_second_on() {
        let codes = codes();
        for (age_s, worth) in [(0, Some(7)), (119, Some(7)), (120, None), (121, None)] {
            let code = issue(&codes, "a", 7, NOW);
            assert_eq!(codes.redeem(code.text(), NOW + age_s), worth, "{age_s} s");
        }
    }

    #[test]
    fn one_too_many_ends_the_owners_oldest_and_nobody_elses() {
        let codes = codes();
        let other = issue(&codes, "b", 99, NOW);
        let own: Vec<_> = (0..4).map(|number| issue(&codes, "a", number, NOW)).collect();
        assert_eq!(codes.redeem(own[0].text(), NOW), None);
        assert_eq!(codes.redeem(own[2].text(), NOW), Some(2));
        issue(&codes, "a", 4, NOW);
        assert_eq!(codes.redeem(own[1].text(), NOW), Some(1), "there was room");
        codes.end_all_of(&"a");
        assert_eq!(codes.redeem(own[3].text(), NOW), None);
        assert_eq!(codes.redeem(other.text(), NOW), Some(99));
    }

    #[test]
    fn when_there_are_too_many_no_more_are_given_out_until_some_have_ended() {
        let codes: Codes<(), u32> = Codes::new(CodeKind::OidcState, LIMITS);
        let issue = |now| codes.issue(None, 1, now, &SystemEntropy::default());
        let first = issue(NOW).unwrap();
        for _ in 1..LIMITS.most {
            issue(NOW + 1).unwrap();
        }
        assert_eq!(issue(NOW + 1).err(), Some(Full));
        assert_eq!(codes.redeem(first.text(), NOW + 1), Some(1));
        assert!(issue(NOW + 2).is_ok());
        assert_eq!(issue(NOW + 2).err(), Some(Full));
        assert!(issue(NOW + 121).is_ok(), "those of the first second have expired");
        assert_eq!(codes.count(NOW + 121), 2);
    }

    #[test]
    fn a_code_of_one_kind_is_nothing_as_another() {
        for kind in CodeKind::ALL {
            let (code, hash) = Code::new(kind, &SystemEntropy::default());
            for other in CodeKind::ALL {
                assert_eq!(hash.verify(other, code.text()), other == kind, "{kind:?} {other:?}");
                let disguised = code.text().replace(kind.prefix(), other.prefix());
                assert_eq!(hash.verify(other, &disguised), other == kind, "{kind:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_is_not_the_code_does_not_pass() {
        let (code, hash) = Code::new(CodeKind::Reset, &SystemEntropy::default());
        let text = code.text();
        assert!(hash.verify(CodeKind::Reset, text));
        assert!(CodeHash::from_bytes(*hash.as_bytes()).verify(CodeKind::Reset, text));
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(!hash.verify(CodeKind::Reset, std::str::from_utf8(&bytes).unwrap()), "{at}");
        }
        for other in ["", "psbr_", &text[1..], &text[..text.len() - 1], &format!("{text}A"), &format!("{text}=")] {
            assert!(!hash.verify(CodeKind::Reset, other), "{other}");
        }
    }

    /// S1: random, at least 128 bits, no fixed bit, never the same.
    #[test]
    fn codes_are_random_in_every_bit() {
        let entropy = SystemEntropy::default();
        let (mut ones, mut zeros, mut seen) = ([0_u8; CODE_BYTES], [0_u8; CODE_BYTES], HashSet::new());
        for _ in 0..10_000 {
            let (code, hash) = Code::new(CodeKind::Login, &entropy);
            let bytes = URL_SAFE_NO_PAD.decode(code.text().strip_prefix("psbl_").unwrap()).unwrap();
            for (at, byte) in bytes.iter().enumerate() {
                ones[at] |= byte;
                zeros[at] |= !byte;
            }
            assert!(seen.insert(hash));
        }
        assert_eq!((ones, zeros), ([0xff; CODE_BYTES], [0xff; CODE_BYTES]));
    }

    #[test]
    fn a_code_is_never_shown() {
        let codes = codes();
        let code = issue(&codes, "a", 1, NOW);
        assert_eq!(format!("{code:?}"), "Code(..)");
        let shown = format!("{codes:?}");
        assert!(shown.starts_with("Codes { kind: Transfer") && !shown.contains(&code.text()[5..]), "{shown}");
    }

    proptest! {
        /// Against a plain list of (owner, payload, expiry, text).
        #[test]
        fn they_do_what_a_plain_list_does(steps in prop::collection::vec((0..4_u8, 0..4_usize, 0..50_u32), 1..200)) {
            const OWNERS: [&str; 4] = ["a", "b", "c", "d"];
            let limits = Limits { lifetime_s: 120, most: 8, most_per_owner: 3 };
            let codes = Codes::new(CodeKind::Transfer, limits);
            let (mut list, mut given) = (Vec::<(&str, u32, ServiceTime, String)>::new(), Vec::new());
            let mut now = NOW;
            for (number, (what, which, passed_s)) in (0..).zip(steps) {
                now += passed_s;
                list.retain(|(_, _, expires_at, _)| *expires_at > now);
                let owner = OWNERS[which];
                match what {
                    0 | 1 => {
                        let issued = codes.issue(Some(owner), number, now, &SystemEntropy::default());
                        if list.iter().filter(|code| code.0 == owner).count() == limits.most_per_owner {
                            let oldest = list.iter().position(|code| code.0 == owner).unwrap();
                            list.remove(oldest);
                        }
                        prop_assert_eq!(issued.is_ok(), list.len() < limits.most);
                        if let Ok(code) = issued {
                            list.push((owner, number, now + limits.lifetime_s, code.text().to_owned()));
                            given.push(code);
                        }
                    }
                    2 => {
                        let Some(code) = given.get(which) else { continue };
                        let held = list.iter().position(|entry| entry.3 == code.text());
                        let worth = held.map(|at| list.remove(at).1);
                        prop_assert_eq!(codes.redeem(code.text(), now), worth);
                        given.remove(which);
                    }
                    _ => {
                        codes.end_all_of(&owner);
                        list.retain(|code| code.0 != owner);
                    }
                }
                prop_assert_eq!(codes.count(now), list.len());
                let inner = codes.inner.lock();
                prop_assert_eq!(inner.by_number.len(), list.len());
                prop_assert_eq!(inner.by_owner.values().map(VecDeque::len).sum::<usize>(), list.len());
                prop_assert!(inner.by_owner.values().all(|numbers| !numbers.is_empty()));
            }
        }
    }
}
