//! Signing keys in memory: what a key is, and which one signs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::encoding::{AsBigEndian as _, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey,
};
use passerby_actors::domain::Entropy;
use serde::{Deserialize, Serialize};

/// Secrets of an HMAC key must have this many bytes at least (RFC 8725 §3.5).
const MIN_SECRET: usize = 32;

/// No signature of ours is longer.
pub(super) const MAX_SIGNATURE: usize = 64;

/// A key's name, `kid` in the tokens that it signs. Public.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The name of these bytes, as [`KeyId::to_bytes`] gave them.
    pub(super) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes of the name.
    pub(super) const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// Reads 16 lower-case hexadecimal digits and nothing else: a `kid` in a token is a stranger's text.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 16 || !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a key signs. A key serves one use alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyUse {
    /// Access tokens.
    Access,
    /// Refresh tokens.
    Refresh,
    /// Reader cookies.
    Cookie,
}

impl KeyUse {
    /// Every use.
    pub const ALL: [Self; 3] = [Self::Access, Self::Refresh, Self::Cookie];

    /// The name in key files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Cookie => "cookie",
        }
    }
}

/// How a key signs; fixed when the key is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519: anyone can verify, through the published keys.
    EdDSA,
    /// ECDSA with P-256 and SHA-256: the same, for libraries that do not support EdDSA.
    ES256,
    /// HMAC-SHA256: only we can verify.
    HS256,
}

impl Algorithm {
    /// The name in headers (RFC 7518, RFC 8037) and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::HS256 => "HS256",
        }
    }
}

/// Whether a key still signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It signs what is new, and verifies.
    Signing,
    /// It verifies what it once signed.
    Verifying,
    /// It verifies, and will sign after the next rotation: others can know it before. In its file it is one that verifies, and it is
    /// younger than the one that signs, which no other is.
    #[serde(skip_deserializing, rename = "verifying")]
    Published,
}

impl KeyState {
    /// The word in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Published => "published",
        }
    }
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Others on this machine may read or write a key file.
    #[error("{path}: mode {mode:03o} lets others at this key file; it must be 600")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Others on this machine may put key files into the folder, or take them away.
    #[error("{path}: mode {mode:03o} lets others write into the folder of the keys; it must be 700")]
    WritableFolder {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file in the folder is not a key of ours.
    #[error("{path} is not a key file: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key is no good.
    #[error("key {id}: {reason}")]
    Bad {
        /// The key.
        id: KeyId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There are users, but a key that signed their tokens is missing.
    #[error("no signing key for {} in {dir}, although there are users already: bring the keys back (keys import), without them every anonymous user is lost", .purpose.name())]
    Missing {
        /// What the key would be for.
        purpose: KeyUse,
        /// Where it should have been.
        dir: PathBuf,
    },
    /// A use has no signing key.
    #[error("no signing key for {}", .0.name())]
    NoneSigns(KeyUse),
    /// There is no such key.
    #[error("there is no key {0}")]
    Unknown(KeyId),
    /// The next key of this use is there already.
    #[error("key {0} is published already: rotate, and it signs")]
    AlreadyPublished(KeyId),
    /// The folder has other keys than the running server.
    #[error("the folder of the keys has others than this server works with, which it takes at its next start")]
    Moved,
    /// The key that signs cannot be removed.
    #[error("key {0} is the one that signs: rotate first, then retire it")]
    StillSigns(KeyId),
    /// An export under no passphrase would be no secret.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The bytes are not an export of keys.
    #[error("this is not an export of Passerby keys")]
    NotAnExport,
    /// The export was written by a later version.
    #[error("this export has format {0}, which this version does not know")]
    UnknownExport(u8),
    /// The export cannot be opened.
    #[error("wrong passphrase, or the export is damaged")]
    WrongPassphrase,
    /// A different key of this name is here already.
    #[error("key {0} is here already with other content: nothing was imported")]
    Clash(KeyId),
}

/// One key, with what is needed to sign.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) purpose: KeyUse,
    pub(super) algorithm: Algorithm,
    pub(super) created_s: u64,
    /// As in the key file: PKCS #8 for Ed25519 and P-256, the bytes themselves for HMAC.
    pub(super) secret: Vec<u8>,
    signer: Signer,
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair, ParsedPublicKey),
    // boxed: it is far larger than the others
    Hmac(Box<hmac::Key>),
}

/// What others need to verify.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey<'a> {
    /// The 32 bytes of the point (RFC 8037 §2).
    Ed25519(&'a [u8]),
    /// The 32 bytes of each coordinate (RFC 7518 §6.2.1).
    P256 { x: &'a [u8], y: &'a [u8] },
}

impl Key {
    /// A new random key.
    pub(super) fn generate(
        purpose: KeyUse,
        algorithm: Algorithm,
        entropy: &dyn Entropy,
        created_s: u64,
    ) -> Result<Self, KeyError> {
        let mut id = [0; 8];
        entropy.fill(&mut id);
        let id = KeyId(id);
        let mut secret = [0; 32];
        entropy.fill(&mut secret);
        let secret = match algorithm {
            Algorithm::HS256 => secret.to_vec(),
            Algorithm::EdDSA => Ed25519KeyPair::from_seed_unchecked(&secret)
                .ok()
                .and_then(|pair| pair.to_pkcs8v1().ok())
                .ok_or(KeyError::Bad { id, reason: "the Ed25519 key could not be created" })?
                .as_ref()
                .to_vec(),
            Algorithm::ES256 => loop {
                // one in 2^32 is no private key of the curve
                if let Some(pair) = p256_pair(&secret) {
                    break pair;
                }
                entropy.fill(&mut secret);
            },
        };
        Self::from_secret(id, purpose, algorithm, created_s, secret)
    }

    /// A key from its file. Refuses what is not a random key of its kind (S28).
    pub(super) fn from_secret(
        id: KeyId,
        purpose: KeyUse,
        algorithm: Algorithm,
        created_s: u64,
        secret: Vec<u8>,
    ) -> Result<Self, KeyError> {
        let bad = |reason| KeyError::Bad { id, reason };
        if purpose != KeyUse::Access && algorithm != Algorithm::HS256 {
            return Err(bad("only access keys can be asymmetric"));
        }
        let signer = match algorithm {
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&secret)
                    .map_err(|_| bad("its secret is not an Ed25519 key in PKCS #8"))?;
                let seed: Option<Curve25519SeedBin<'_>> = pair.seed().ok().and_then(|seed| seed.as_be_bytes().ok());
                if seed.is_none_or(|seed| is_uniform(seed.as_ref())) {
                    return Err(bad("its secret is one byte repeated, not random"));
                }
                Signer::Ed25519(pair)
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &secret)
                    .map_err(|_| bad("its secret is not a P-256 key in PKCS #8"))?;
                let scalar: Result<EcPrivateKeyBin<'_>, _> = pair.private_key().as_be_bytes();
                if scalar.is_ok_and(|scalar| is_uniform(scalar.as_ref())) {
                    return Err(bad("its secret is one byte repeated, not random"));
                }
                let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
                    .map_err(|_| bad("its public key is not one of P-256"))?;
                Signer::P256(pair, public)
            }
            Algorithm::HS256 if secret.len() < MIN_SECRET => return Err(bad("its secret is shorter than 32 bytes")),
            Algorithm::HS256 if is_uniform(&secret) => return Err(bad("its secret is one byte repeated, not random")),
            Algorithm::HS256 => Signer::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret))),
        };
        Ok(Self { id, purpose, algorithm, created_s, secret, signer })
    }

    /// Signs into `out` and returns what was written.
    pub(super) fn sign<'a>(&self, message: &[u8], out: &'a mut [u8; MAX_SIGNATURE]) -> &'a [u8] {
        let (ed, ec, mac);
        let signature: &[u8] = match &self.signer {
            Signer::Ed25519(pair) => {
                ed = pair.sign(message);
                ed.as_ref()
            }
            Signer::P256(pair, _) => {
                // only a lack of memory can fail it; a token without a signature is worth nothing
                ec = pair.sign(&SystemRandom::new(), message).ok();
                ec.as_ref().map(AsRef::as_ref).unwrap_or_default()
            }
            Signer::Hmac(key) => {
                mac = hmac::sign(key, message);
                mac.as_ref()
            }
        };
        out[..signature.len()].copy_from_slice(signature);
        &out[..signature.len()]
    }

    /// Whether this key signed the message.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.signer {
            // no two of its signatures are equal
            Signer::P256(_, public) => public.verify_sig(message, signature).is_ok(),
            // deterministic, so signing again tells what verifying would, and for Ed25519 at a quarter of the cost
            Signer::Ed25519(_) | Signer::Hmac(_) => {
                verify_slices_are_equal(self.sign(message, &mut [0; MAX_SIGNATURE]), signature).is_ok()
            }
        }
    }

    /// What others need to verify; `None` for HMAC, where that would be the secret.
    pub(super) fn public(&self) -> Option<PublicKey<'_>> {
        match &self.signer {
            Signer::Ed25519(pair) => Some(PublicKey::Ed25519(pair.public_key().as_ref())),
            Signer::P256(pair, _) => {
                // an uncompressed point: 4, x, y
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                Some(PublicKey::P256 { x, y })
            }
            Signer::Hmac(_) => None,
        }
    }
}

/// The key pair of this private key of P-256 in PKCS #8, if it is one.
fn p256_pair(scalar: &[u8]) -> Option<Vec<u8>> {
    let private = PrivateKey::from_private_key(&ECDH_P256, scalar).ok()?;
    let public = private.compute_public_key().ok()?;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, scalar, public.as_ref())
        .ok()?;
    Some(pair.to_pkcs8v1().ok()?.as_ref().to_vec())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.purpose.name(), self.algorithm.name(), self.id)
    }
}

fn is_uniform(bytes: &[u8]) -> bool {
    bytes.windows(2).all(|pair| pair[0] == pair[1])
}

/// The keys a server works with: for each use one that signs, and those that still verify.
#[derive(Debug, Clone)]
pub struct KeyRing {
    signing: [Arc<Key>; 3],
    all: Vec<Arc<Key>>,
}

impl KeyRing {
    /// # Errors
    /// A use without a signing key, or one secret in two keys.
    pub(super) fn new(keys: &[(Arc<Key>, KeyState)]) -> Result<Self, KeyError> {
        for (at, (key, _)) in keys.iter().enumerate() {
            if keys[..at].iter().any(|(other, _)| other.secret == key.secret) {
                return Err(KeyError::Bad { id: key.id, reason: "a different key has the same secret" });
            }
        }
        let signing = |purpose| {
            keys.iter()
                .find(|(key, state)| key.purpose == purpose && *state == KeyState::Signing)
                .map(|(key, _)| Arc::clone(key))
                .ok_or(KeyError::NoneSigns(purpose))
        };
        Ok(Self {
            signing: [signing(KeyUse::Access)?, signing(KeyUse::Refresh)?, signing(KeyUse::Cookie)?],
            all: keys.iter().map(|(key, _)| Arc::clone(key)).collect(),
        })
    }

    /// The key that signs what is new.
    pub(super) fn signing(&self, purpose: KeyUse) -> &Arc<Key> {
        match purpose {
            KeyUse::Access => &self.signing[0],
            KeyUse::Refresh => &self.signing[1],
            KeyUse::Cookie => &self.signing[2],
        }
    }

    /// Every key, signing or not.
    pub(super) fn all(&self) -> &[Arc<Key>] {
        &self.all
    }

    /// The key of this name.
    pub(super) fn find(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.all.iter().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests;
