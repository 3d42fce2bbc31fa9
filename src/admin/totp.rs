//! One-time passwords by time, the second factor of an admin (RFC 6238: SHA-1, 30 s, 6 digits, as every authenticator app has them).
//! Their secret is stored sealed under a key that stands beside the signing keys.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use passerby_actors::domain::Entropy;
use zeroize::Zeroizing;

use super::fault::Fault;
use crate::config::secrets::read_private;

/// How long a code is good (seconds), and how many before and after now are taken: clocks differ.
const STEP_S: u64 = 30;
const SKEW: u64 = 1;
/// Bytes of a secret (RFC 4226, section 4: 160 bits).
const SECRET: usize = 20;
const DIGITS: u32 = 6;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A secret that an authenticator app holds, too. Wiped when dropped; never shown.
pub struct TotpSecret(Zeroizing<[u8; SECRET]>);

impl TotpSecret {
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut secret = Zeroizing::new([0; SECRET]);
        entropy.fill(secret.as_mut());
        Self(secret)
    }

    /// For the app: Base32 without padding (RFC 4648, section 6).
    pub fn text(&self) -> Zeroizing<String> {
        // 20 bytes are 32 digits
        let bits = |at: usize| usize::from(self.0[at / 8] >> (7 - at % 8) & 1);
        let digit = |n: usize| (0..5).fold(0, |digit, bit| digit << 1 | bits(5 * n + bit));
        Zeroizing::new((0..SECRET * 8 / 5).map(|n| char::from(BASE32[digit(n)])).collect())
    }

    /// Reads what [`text`](Self::text) wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut secret = Zeroizing::new([0; SECRET]);
        if text.len() != SECRET * 8 / 5 {
            return None;
        }
        for (n, digit) in text.bytes().enumerate() {
            let value = BASE32.iter().position(|known| *known == digit)?;
            for bit in 0..5 {
                let at = 5 * n + bit;
                secret[at / 8] |= u8::from(value >> (4 - bit) & 1 == 1) << (7 - at % 8);
            }
        }
        Some(Self(secret))
    }

    /// The step of a code that is good now (Unix time in seconds) and was not used: later than `used`.
    pub(super) fn step_of(&self, code: &str, now_s: u64, used: u64) -> Option<u64> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.0.as_ref());
        let now = now_s / STEP_S;
        let mut steps = now.saturating_sub(SKEW)..=now + SKEW;
        steps.find(|step| *step > used && code_of(&key, *step) == code)
    }
}

/// The code of a step (RFC 4226, section 5.3).
fn code_of(key: &hmac::Key, step: u64) -> String {
    let tag = hmac::sign(key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 0xf);
    let number = tag[at..at + 4].iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:06}", number % 10u32.pow(DIGITS))
}

/// Seals secrets under a key in a file of its own.
pub(super) struct Seal(PathBuf);

impl Seal {
    /// With the folder of the signing keys. The file is created with the first secret.
    pub(super) fn new(keys: &Path) -> Self {
        Self(keys.join("admin.seal"))
    }

    /// The secret as it is stored, bound to its admin.
    ///
    /// # Errors
    /// `Seal`: the key can be neither read nor created.
    pub(super) fn close(&self, name: &str, secret: &TotpSecret, entropy: &dyn Entropy) -> Result<String, Fault> {
        let failed = |error: io::Error| {
            tracing::error!(%error, path = %self.0.display(), "the key of second factors can be neither read nor created");
            Fault::Seal
        };
        if !self.0.exists() {
            self.create(entropy).map_err(failed)?;
        }
        let mut sealed = vec![0; NONCE_LEN];
        entropy.fill(&mut sealed);
        let nonce = Nonce::try_assume_unique_for_key(&sealed).map_err(|_| Fault::Seal)?;
        let mut body = secret.0.to_vec();
        self.key()?.seal_in_place_append_tag(nonce, Aad::from(name), &mut body).map_err(|_| Fault::Seal)?;
        sealed.extend(body);
        Ok(STANDARD.encode(sealed))
    }

    /// What [`close`](Self::close) sealed.
    ///
    /// # Errors
    /// `Seal`: the key is not there, or is not the one.
    pub(super) fn open(&self, name: &str, sealed: &str) -> Result<TotpSecret, Fault> {
        let sealed = STANDARD.decode(sealed).map_err(|_| Fault::Seal)?;
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(Fault::Seal)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Fault::Seal)?;
        let mut body = Zeroizing::new(body.to_vec());
        let secret = self.key()?.open_in_place(nonce, Aad::from(name), &mut body);
        let secret: &[u8] = secret.map_err(|_| Fault::Seal)?;
        Ok(TotpSecret(Zeroizing::new(secret.try_into().map_err(|_| Fault::Seal)?)))
    }

    fn key(&self) -> Result<LessSafeKey, Fault> {
        let text = read_private(&self.0).map_err(|why| {
            tracing::error!(path = %self.0.display(), why, "the key of second factors");
            Fault::Seal
        })?;
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| Fault::Seal)?);
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| Fault::Seal)?))
    }

    fn create(&self, entropy: &dyn Entropy) -> io::Result<()> {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(key.as_mut());
        let new = self.0.with_extension("seal.unfinished");
        drop(fs::remove_file(&new));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(format!("{}\n", STANDARD.encode(*key)).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use passerby_actors::testkit::SeededEntropy;

    use super::*;

    /// RFC 6238, appendix B, in 6 of its 8 digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = TotpSecret(Zeroizing::new(*b"12345678901234567890"));
        for (now_s, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.step_of(code, now_s, 0), Some(now_s / 30), "{now_s}");
        }
        assert_eq!(*secret.text(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn a_code_is_good_for_a_step_before_and_after_and_once() {
        let secret = TotpSecret(Zeroizing::new(*b"12345678901234567890"));
        let step = |now_s, used| secret.step_of("050471", now_s, used);
        let its = 1_111_111_111 / 30;
        for (now_s, is_good) in [(its - 2, false), (its - 1, true), (its, true), (its + 1, true), (its + 2, false)] {
            assert_eq!(step(now_s * 30, 0).is_some(), is_good, "{now_s}");
        }
        assert_eq!((step(its * 30, its - 1), step(its * 30, its)), (Some(its), None));
        for wrong in ["", "50471", "0050471", "050472", "050471 "] {
            assert_eq!(secret.step_of(wrong, its * 30, 0), None, "{wrong}");
        }
    }

    #[test]
    fn a_sealed_secret_is_opened_for_its_admin_by_its_key_alone() {
        let (folder, entropy) = (tempfile::tempdir().unwrap(), SeededEntropy::new(1));
        let (secret, seal) = (TotpSecret::new(&*entropy), Seal::new(folder.path()));
        assert!(TotpSecret::parse(&secret.text()).is_some_and(|read| read.0 == secret.0));
        for bad in ["", "A", &"a".repeat(32), &"1".repeat(32)] {
            assert!(TotpSecret::parse(bad).is_none(), "{bad}");
        }
        let sealed = seal.close("ada", &secret, &*entropy).unwrap();
        assert!(seal.open("ada", &sealed).is_ok_and(|open| open.0 == secret.0));
        assert_ne!(seal.close("ada", &secret, &*entropy), Ok(sealed.clone()), "each time otherwise");
        assert!(seal.open("bob", &sealed).is_err());
        let other = tempfile::tempdir().unwrap();
        assert!(Seal::new(other.path()).open("ada", &sealed).is_err(), "there is no key");
        Seal::new(other.path()).close("ada", &secret, &*entropy).unwrap();
        assert!(Seal::new(other.path()).open("ada", &sealed).is_err(), "it is another one");
    }
}
