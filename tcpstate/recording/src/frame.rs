//! Frames, each of which can be checked by itself.

use std::io;

use thiserror::Error;

use crate::budget::Exceeded;

/// Bytes before the payload of a frame.
pub(crate) const FRAME_HEADER: usize = 16;
/// Most bytes of a payload, compressed or not: what a reader has to have room for.
const MAX_PAYLOAD: usize = 64 << 20;
/// Events in a frame at most: fewer compress worse, more keep a reader from stopping early.
pub const EVENTS_IN_A_FRAME: usize = 65_536;
/// Sockets of a snapshot or a census in one frame at most, so that none is too long however many there are.
pub const SOCKETS_IN_A_FRAME: usize = 50_000;
/// zstd's own default.
const LEVEL: i32 = 3;

/// What a frame holds; numbers are never reused. Readers skip kinds that they do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FrameKind {
    /// [`Content::Start`](crate::Content::Start).
    Start = 1,
    /// [`Content::Events`](crate::Content::Events).
    Events = 2,
    /// [`Content::Sockets`](crate::Content::Sockets).
    Sockets = 3,
    /// [`Content::Checkpoint`](crate::Content::Checkpoint).
    Checkpoint = 4,
    /// [`Content::Stacks`](crate::Content::Stacks).
    Stacks = 5,
    /// [`Content::Names`](crate::Content::Names).
    Names = 6,
    /// [`Content::Counts`](crate::Content::Counts).
    Counts = 7,
    /// [`Content::End`](crate::Content::End).
    End = 8,
    /// [`Content::CensusPart`](crate::Content::CensusPart).
    CensusPart = 9,
    /// [`Content::Census`](crate::Content::Census).
    Census = 10,
    /// [`Content::Unseen`](crate::Content::Unseen).
    Unseen = 11,
    /// [`Content::Traffic`](crate::Content::Traffic).
    Traffic = 12,
    /// [`Content::Activities`](crate::Content::Activities).
    Activities = 13,
    // 14 is below: it has no content of its own.
    /// [`Content::CensusGaps`](crate::Content::CensusGaps).
    CensusGaps = 15,
}

/// The kind of a frame that says of the processes in the next one what that does not: no content of its own.
pub(crate) const PROCESSES: u16 = 14;

impl FrameKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Start,
        Self::Events,
        Self::Sockets,
        Self::Checkpoint,
        Self::Stacks,
        Self::Names,
        Self::Counts,
        Self::End,
        Self::CensusPart,
        Self::Census,
        Self::Unseen,
        Self::Traffic,
        Self::Activities,
        Self::CensusGaps,
    ];

    /// The kind of this number, if it is known.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u16 == number)
    }
}

/// Why a frame cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The file ends in it.
    #[error("the file ends within a frame")]
    CutOff,
    /// Its bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// Longer than any that is written.
    #[error("a frame of {0} bytes, and none is longer than {MAX_PAYLOAD}")]
    TooLong(u64),
    /// It takes more memory than its file may.
    #[error(
        "a frame that takes much more memory than its file has bytes, as none does that is written: the file may have been made to do \
         harm"
    )]
    TooMuch,
    /// Its content is none that is written.
    #[error("a frame that does not decode: {0}")]
    Content(String),
}

/// Appends a frame with this payload to `out`.
///
/// # Errors
///
/// When the payload is longer than a reader takes, or there is no memory to compress it.
pub(crate) fn write(out: &mut Vec<u8>, kind: u16, payload: &[u8]) -> io::Result<()> {
    if payload.len() > MAX_PAYLOAD {
        return Err(io::Error::other(FrameError::TooLong(payload.len() as u64)));
    }
    let compressed = zstd::bulk::compress(payload, LEVEL)?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
    let mut header = [0; FRAME_HEADER];
    header[..4].copy_from_slice(&length(&compressed)?.to_le_bytes());
    header[4..8].copy_from_slice(&length(payload)?.to_le_bytes());
    header[8..10].copy_from_slice(&kind.to_le_bytes());
    let checksum = checksum(&header, &compressed);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&compressed);
    Ok(())
}

/// CRC-32C of a frame: of its header up to the checksum, then of its payload.
fn checksum(header: &[u8; FRAME_HEADER], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), payload)
}

/// What precedes the payload of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    bytes: [u8; FRAME_HEADER],
    /// Bytes of the payload in the file.
    pub(crate) compressed: usize,
    /// Bytes of the payload.
    pub(crate) payload: usize,
    /// Its [`FrameKind`] by number.
    pub(crate) kind: u16,
}

impl From<Exceeded> for FrameError {
    fn from(Exceeded: Exceeded) -> Self {
        Self::TooMuch
    }
}

impl FrameHeader {
    /// Reads what precedes a payload.
    ///
    /// # Errors
    ///
    /// When it announces more than is ever written.
    pub(crate) fn parse(bytes: [u8; FRAME_HEADER]) -> Result<Self, FrameError> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let (compressed, payload) = (number(0), number(4));
        if let Some(long) = [compressed, payload].into_iter().find(|&length| length > MAX_PAYLOAD) {
            return Err(FrameError::TooLong(long as u64));
        }
        Ok(Self { bytes, compressed, payload, kind: u16::from_le_bytes([bytes[8], bytes[9]]) })
    }

    /// Checks what follows.
    ///
    /// # Errors
    ///
    /// When the bytes are not those that were written.
    pub(crate) fn check(&self, compressed: &[u8]) -> Result<(), FrameError> {
        let stored = u32::from_le_bytes([self.bytes[12], self.bytes[13], self.bytes[14], self.bytes[15]]);
        let good = compressed.len() == self.compressed && checksum(&self.bytes, compressed) == stored;
        if good { Ok(()) } else { Err(FrameError::Checksum) }
    }

    /// Decompresses what follows, once it is checked.
    ///
    /// # Errors
    ///
    /// When it is not as long as it has to be, or nothing that can be decompressed.
    pub(crate) fn open(&self, compressed: &[u8]) -> Result<Vec<u8>, FrameError> {
        let content = |error: &dyn std::fmt::Display| FrameError::Content(error.to_string());
        let payload = zstd::bulk::decompress(compressed, self.payload).map_err(|error| content(&error))?;
        if payload.len() == self.payload { Ok(payload) } else { Err(content(&"its length is another one")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
        let (header, payload) = bytes.split_first_chunk().ok_or(FrameError::CutOff)?;
        let header = FrameHeader::parse(*header)?;
        header.check(payload)?;
        header.open(payload)
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut frame = Vec::new();
        write(&mut frame, FrameKind::Checkpoint as u16, b"some payload, some payload").expect("small");
        assert_eq!(open(&frame).as_deref(), Ok(&b"some payload, some payload"[..]));
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&bad).is_err(), "bit {bit}");
        }
    }
}
