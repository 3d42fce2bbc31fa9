//! Why a document is not changed, and how deep one may be.

/// How deep objects and arrays may be in each other.
pub const MAX_DEPTH: usize = 32;

/// Why a document is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentRefusal {
    /// It is not the one that was expected.
    #[error("the document is not the one that the change expects: its version is {0}")]
    Version(u64),
    /// It would be too large.
    #[error("the document would have at least {bytes} bytes, and may have {most}")]
    TooLarge {
        /// At least so large.
        bytes: usize,
        /// So large it may be.
        most: usize,
    },
    /// All documents together are as large as they may be, and it would grow.
    #[error("there is no room for more data")]
    Full,
    /// It would be too deep.
    #[error("objects and arrays may be {MAX_DEPTH} deep in each other")]
    TooDeep,
    /// The JSON patch does not fit the document.
    #[error("operation {0} of the patch does not fit the document, and nothing was changed")]
    Patch(usize),
    /// The JSON patch would touch too much of the document.
    #[error(
        "up to operation {0} the patch touches more of the document than one request may: nothing was changed, send it in parts"
    )]
    TooCostly(usize),
    /// A JSON patch would leave something else.
    #[error("the document must be a JSON object")]
    NotAnObject,
    /// There is nothing that could grow at the path.
    #[error("there is no number at this path, and no object to put one into")]
    NotANumber,
    /// A number cannot be that large.
    #[error("the number would be too large")]
    Overflow,
    /// A sum would be rounded.
    #[error("the sum of a number with a fraction and a whole one beyond 2^53 cannot be kept exactly")]
    Inexact,
    /// A different operation had this name.
    #[error("a different request has this name")]
    OtherOperation,
}
