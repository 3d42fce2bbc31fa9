//! One-time codes: texts that are worth something once, kept by their hash alone.
//!
//! [`Codes`] keeps them in memory, and they end with the process. What must outlive it (the tokens of confirmation and
//! reset e-mails) is stored by the caller, who takes a [`Code`] and its [`CodeHash`] from [`Code::new`] alone.

mod code;
mod kept;
mod one_time;

pub use self::code::{Code, CodeHash, CodeKind};
pub use self::kept::{Codes, Full, Limits};
pub use self::one_time::{
    FinishedLogin, LOGIN_CODE_S, OneTimeCodes, PendingLogin, SENT_LOGIN_S, SentLogin, TICKET_S, TRANSFER_CODE_S,
    Transfer,
};
