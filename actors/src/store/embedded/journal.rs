//! Journal files: reading one to its end, and beginning one.

use std::path::Path;

use super::codec::{self, Frame, FrameAt, JOURNAL_HEAD};
use super::error::OpenError;
use super::files::{AppendFile, Files};
use super::layout;

/// How far a journal can be read.
#[derive(Debug)]
pub(super) struct Extent {
    /// Bytes up to the end of the last frame that verifies before any that does not.
    pub(super) good_bytes: usize,
    /// Bytes behind them.
    pub(super) bad_bytes: usize,
    /// Where a frame verifies behind the first that does not: damage rather than a torn end.
    pub(super) resumes_at: Option<usize>,
}

/// Calls `see` for each frame from `from` on until one does not verify.
pub(super) fn read_frames(
    path: &Path,
    bytes: &[u8],
    from: usize,
    mut see: impl FnMut(Frame) -> Result<(), OpenError>,
) -> Result<Extent, OpenError> {
    let mut at = from;
    while let FrameAt::Verified(body, len) = codec::frame_at(&bytes[at..]) {
        let frame = codec::decode_frame(body).map_err(|error| OpenError::Damaged {
            what: path.to_owned(),
            why: format!("the frame at byte {at} is {error}"),
        })?;
        see(frame)?;
        at += len;
    }
    let resumes_at = (at + 1..bytes.len())
        .filter(|&next| bytes[next..].starts_with(&codec::FRAME_MAGIC))
        .find(|&next| matches!(codec::frame_at(&bytes[next..]), FrameAt::Verified(..)));
    Ok(Extent { good_bytes: at, bad_bytes: bytes.len() - at, resumes_at })
}

/// Whether there is any frame in it.
pub(super) fn holds_frames(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| {
        bytes[at..].starts_with(&codec::FRAME_MAGIC) && matches!(codec::frame_at(&bytes[at..]), FrameAt::Verified(..))
    })
}

/// Creates an empty journal, and makes everything on its path durable.
pub(super) fn begin(files: &dyn Files, dir: &Path, generation: u64) -> std::io::Result<Box<dyn AppendFile>> {
    let folder = layout::folder(dir, generation);
    files.create_dir(&folder)?;
    let path = layout::journal(dir, generation);
    files.write(&path, &codec::journal_head(generation))?;
    files.sync_file(&path)?;
    files.sync_dir(&folder)?;
    files.sync_dir(dir)?;
    files.sync_dir(layout::parent(dir))?;
    files.open_append(&path)
}

/// The length of a journal without frames.
pub(super) const EMPTY: usize = JOURNAL_HEAD;
