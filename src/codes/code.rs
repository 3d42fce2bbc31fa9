//! A code, its kind and its hash.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passerby_actors::domain::Entropy;
use zeroize::Zeroizing;

/// Random bytes of a code: 192 bits (S1 asks for 128), 32 characters.
pub(super) const CODE_BYTES: usize = 24;
const CODE_CHARS: usize = CODE_BYTES / 3 * 4;

/// What a code is good for; a code of one kind is worth nothing as a different kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// Begins a second session of the same user.
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

/// SHA-256 of a code with its prefix. From this no code can be derived (S2); a slow hash is not needed, because no attacker can
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
