//! Keys on their way to a different machine: encrypted under a passphrase.
//!
//! Layout: magic, format byte, salt (16), nonce (12), then AES-256-GCM over the key files as JSON, everything before it
//! authenticated with it. The AES key is PBKDF2-HMAC-SHA256 of the passphrase.

use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::pbkdf2;
use passerby_actors::domain::Entropy;

use super::keys::KeyError;

const MAGIC: &[u8] = b"passerby keys\n";
const FORMAT: u8 = 1;
const SALT: usize = 16;
const HEAD: usize = MAGIC.len() + 1 + SALT + NONCE_LEN;

/// As OWASP advises for this function; fixed by the format, so a forged file cannot ask for endless work.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");

/// Encrypts under the passphrase.
pub(super) fn seal(text: &[u8], passphrase: &str, entropy: &dyn Entropy) -> Result<Vec<u8>, KeyError> {
    if passphrase.is_empty() {
        return Err(KeyError::EmptyPassphrase);
    }
    let mut out = [MAGIC, &[FORMAT], &[0; SALT + NONCE_LEN]].concat();
    entropy.fill(&mut out[MAGIC.len() + 1..]);
    let (key, nonce) = open_head(&out, passphrase)?;
    let mut body = text.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(&out[..]), &mut body).map_err(|_| KeyError::NotAnExport)?;
    out.extend(body);
    Ok(out)
}

/// What [`seal`] encrypted.
pub(super) fn open(bytes: &[u8], passphrase: &str) -> Result<Vec<u8>, KeyError> {
    match bytes.strip_prefix(MAGIC).and_then(<[u8]>::first) {
        Some(&FORMAT) => {}
        Some(&other) => return Err(KeyError::UnknownExport(other)),
        None => return Err(KeyError::NotAnExport),
    }
    let (head, body) = bytes.split_at_checked(HEAD).ok_or(KeyError::NotAnExport)?;
    let (key, nonce) = open_head(head, passphrase)?;
    let mut body = body.to_vec();
    let text = key.open_in_place(nonce, Aad::from(head), &mut body).map_err(|_| KeyError::WrongPassphrase)?;
    Ok(text.to_vec())
}

/// The AES key and nonce that a head and a passphrase give.
fn open_head(head: &[u8], passphrase: &str) -> Result<(LessSafeKey, Nonce), KeyError> {
    let (salt, nonce) = head[MAGIC.len() + 1..].split_at(SALT);
    let mut secret = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, passphrase.as_bytes(), &mut secret);
    let key = UnboundKey::new(&AES_256_GCM, &secret).map_err(|_| KeyError::NotAnExport)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::NotAnExport)?;
    Ok((LessSafeKey::new(key), nonce))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::testing::Repeatable;

    #[test]
    fn it_opens_with_its_passphrase_alone() {
        let sealed = seal(b"text", "correct horse", &Repeatable::default()).unwrap();
        assert_eq!(open(&sealed, "correct horse").unwrap(), b"text");
        assert!(!sealed.windows(4).any(|window| window == b"text"));
        assert!(matches!(open(&sealed, "Correct horse"), Err(KeyError::WrongPassphrase)));
        assert!(matches!(seal(b"text", "", &Repeatable::default()), Err(KeyError::EmptyPassphrase)));
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let sealed = seal(b"text", "p", &Repeatable::default()).unwrap();
        for (at, wanted) in [(0, "not an export"), (MAGIC.len(), "format"), (20, "damaged"), (HEAD + 1, "damaged")] {
            let mut bytes = sealed.clone();
            bytes[at] ^= 0x80;
            let error = open(&bytes, "p").unwrap_err().to_string();
            assert!(error.contains(wanted), "{at}: {error}");
        }
        for length in [0, MAGIC.len(), HEAD - 1] {
            assert!(matches!(open(&sealed[..length], "p"), Err(KeyError::NotAnExport)), "{length}");
        }
        assert!(matches!(open(&sealed[..HEAD], "p"), Err(KeyError::WrongPassphrase)));
    }
}
