//! Looks at the heads of frames, before any of it is kept: the library collects a frame until it is whole, however long it says it is,
//! and cannot tell a broken frame from a text that is not UTF-8.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;

/// The longest head of a frame: two bytes, a length of eight, a mask of four (RFC 6455 §5.2).
const LONGEST_HEAD: usize = 14;
/// In the first byte.
const RESERVED: u8 = 0x70;

/// The bytes of a connection, as long as no frame says that it is longer than it may be.
pub(super) struct Guard<S> {
    bytes: S,
    /// Bytes that a frame may have.
    most: u64,
    head: Vec<u8>,
    /// The rest of the frame whose head was read.
    left: u64,
}

impl<S> Guard<S> {
    pub(super) fn new(bytes: S, most: usize) -> Self {
        Self { bytes, most: most as u64, head: Vec::with_capacity(LONGEST_HEAD), left: 0 }
    }

    /// Whether these bytes may come after those before: `Overflow` if a frame is too long, `EncodingCorrupted` if it uses bits that
    /// no extension has given a meaning (RFC 6455 §5.2).
    fn check(&mut self, mut bytes: &[u8]) -> Result<(), PayloadError> {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len() as u64);
            // no more than there are
            bytes = &bytes[skipped as usize..];
            self.left -= skipped;
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            if self.head.is_empty() && first & RESERVED != 0 {
                return Err(PayloadError::EncodingCorrupted);
            }
            self.head.push(*first);
            bytes = rest;
            if let Some(length) = length(&self.head) {
                if length > self.most {
                    return Err(PayloadError::Overflow);
                }
                self.left = length;
                self.head.clear();
            }
        }
        Ok(())
    }
}

/// How long the frame of this head is, if the head is whole.
fn length(head: &[u8]) -> Option<u64> {
    let second = head.get(1)?;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    if head.len() < 2 + extended + mask {
        return None;
    }
    Some(match extended {
        0 => u64::from(second & 0x7f),
        _ => head[2..2 + extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    })
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Guard<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match Pin::new(&mut self.bytes).poll_next(context) {
            Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Some(self.check(&bytes).map(|()| bytes))),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: &[u8], masked: bool, body: usize) -> Vec<u8> {
        let mut frame = vec![0x81, length[0] | if masked { 0x80 } else { 0 }];
        frame.extend(&length[1..]);
        frame.extend(vec![7; if masked { 4 } else { 0 } + body]);
        frame
    }

    #[test]
    fn frames_of_every_form_pass_up_to_the_limit_however_they_are_cut() {
        let frames = [
            frame(&[0], true, 0),
            frame(&[5], true, 5),
            frame(&[125], false, 125),
            frame(&[126, 0, 200], true, 200),
            frame(&[127, 0, 0, 0, 0, 0, 0, 0, 200], true, 200),
            frame(&[1], true, 1),
        ]
        .concat();
        for cut in 1..frames.len() {
            let mut guard = Guard::new((), 200);
            assert!(frames.chunks(cut).all(|piece| guard.check(piece).is_ok()), "cut at {cut}");
            assert!(guard.head.is_empty() && guard.left == 0);
        }
        for longer in [
            frame(&[126, 0, 201], true, 0),
            frame(&[127, 0, 0, 0, 0, 0, 0, 1, 0], true, 0),
            frame(&[127, 255, 255, 255, 255, 255, 255, 255, 255], true, 0),
        ] {
            for cut in 1..longer.len() {
                let mut guard = Guard::new((), 200);
                assert!(guard.check(&frames).is_ok());
                assert!(
                    longer.chunks(cut).any(|piece| matches!(guard.check(piece), Err(PayloadError::Overflow))),
                    "{longer:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn reserved_bits_are_for_extensions_and_there_are_none() {
        for bits in [0x40, 0x20, 0x10, 0x70] {
            let mut guard = Guard::new((), 200);
            assert!(matches!(guard.check(&[0x81 | bits, 0]), Err(PayloadError::EncodingCorrupted)), "{bits:x}");
        }
    }
}
