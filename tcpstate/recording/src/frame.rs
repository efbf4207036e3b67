//! The outermost layer: a header, then frames that each can be checked by themselves.

use std::io;

use thiserror::Error;

/// First bytes of every recording. The first is no text, the last two are changed by whatever takes the file for text.
pub const MAGIC: [u8; 8] = *b"\x89TCPST\r\n";
/// Version of the format: readers refuse a newer one.
pub const VERSION: u16 = 1;
/// Features that a reader has to know to read the file at all. None yet.
pub const FEATURES: u32 = 0;
/// Bytes of the header.
pub const HEADER: usize = 16;
/// Bytes before the payload of a frame.
pub const FRAME_HEADER: usize = 16;
/// Most bytes of a payload, compressed or not: what a reader has to have room for.
pub const MAX_PAYLOAD: usize = 64 << 20;
/// zstd's own default.
const LEVEL: i32 = 3;

/// What a frame holds; numbers are never reused. Readers skip kinds that they do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// [`super::record::Start`]: the first frame.
    Start = 1,
    /// [`super::events`].
    Events = 2,
    /// [`super::record::Sockets`].
    Sockets = 3,
    /// [`super::record::Checkpoint`].
    Checkpoint = 4,
    /// [`super::record::Stacks`].
    Stacks = 5,
    /// [`super::record::Names`].
    Names = 6,
    /// [`super::record::Counted`].
    Counted = 7,
    /// [`super::record::End`]: the last frame of a recording that was ended, not cut off.
    End = 8,
    /// [`super::census::Part`].
    Part = 9,
    /// [`super::census::Census`].
    Census = 10,
}

impl Kind {
    /// The kind of this number, if it is known.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        use Kind::{Census, Checkpoint, Counted, End, Events, Names, Part, Sockets, Stacks, Start};
        let all = [Start, Events, Sockets, Checkpoint, Stacks, Names, Counted, End, Part, Census];
        all.into_iter().find(|&kind| kind as u16 == number)
    }
}

/// Why a file is no recording that can be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// It is something else.
    #[error("no recording of tcpstate: it does not begin as one; make one with `tcpstate record -o FILE`")]
    Foreign,
    /// It was transferred as text.
    #[error("this recording was changed by a transfer as text: copy the file again, as binary")]
    Text,
    /// Not even the header is there.
    #[error("the file is empty or ends in its header: it holds nothing")]
    Short,
    /// A later program wrote it.
    #[error(
        "a recording of format {found}, and this tcpstate reads up to {VERSION}: use the tcpstate that made it, or a later one"
    )]
    Newer {
        /// The version it says it has.
        found: u16,
    },
    /// A later program wrote it.
    #[error(
        "a recording with features {unknown:#x} that this tcpstate does not know: use the tcpstate that made it, or a later one"
    )]
    Features {
        /// The bits that are not known.
        unknown: u32,
    },
}

/// The header of a new recording.
#[must_use]
pub fn header() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..].copy_from_slice(&FEATURES.to_le_bytes());
    bytes
}

/// Checks the first bytes of a file.
///
/// # Errors
///
/// When what follows cannot be read.
pub fn check_header(bytes: &[u8]) -> Result<(), HeaderError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        let begins = MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]);
        return Err(if begins { HeaderError::Short } else { HeaderError::Foreign });
    };
    if header[..8] != MAGIC {
        let text = header[1..6] == MAGIC[1..6];
        return Err(if text { HeaderError::Text } else { HeaderError::Foreign });
    }
    let found = u16::from_le_bytes([header[8], header[9]]);
    if found != VERSION {
        return Err(HeaderError::Newer { found });
    }
    let unknown = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) & !FEATURES;
    if unknown == 0 { Ok(()) } else { Err(HeaderError::Features { unknown }) }
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
    /// Its content is none that is written.
    #[error("a frame that does not decode: {0}")]
    Content(String),
}

/// Appends a frame with this payload to `out`.
///
/// # Errors
///
/// When the payload is longer than a reader takes, or there is no memory to compress it.
pub fn write(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) -> io::Result<()> {
    if payload.len() > MAX_PAYLOAD {
        return Err(io::Error::other(FrameError::TooLong(payload.len() as u64)));
    }
    let compressed = zstd::bulk::compress(payload, LEVEL)?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
    let mut header = [0; FRAME_HEADER];
    header[..4].copy_from_slice(&length(&compressed)?.to_le_bytes());
    header[4..8].copy_from_slice(&length(payload)?.to_le_bytes());
    header[8..10].copy_from_slice(&(kind as u16).to_le_bytes());
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
pub struct FrameHeader {
    bytes: [u8; FRAME_HEADER],
    /// Bytes of the payload in the file.
    pub compressed: usize,
    /// Bytes of the payload.
    pub payload: usize,
    /// Its [`Kind`] by number.
    pub kind: u16,
}

impl FrameHeader {
    /// Reads what precedes a payload.
    ///
    /// # Errors
    ///
    /// When it announces more than is ever written.
    pub fn parse(bytes: [u8; FRAME_HEADER]) -> Result<Self, FrameError> {
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
    pub fn check(&self, compressed: &[u8]) -> Result<(), FrameError> {
        let stored = u32::from_le_bytes([self.bytes[12], self.bytes[13], self.bytes[14], self.bytes[15]]);
        let good = compressed.len() == self.compressed && checksum(&self.bytes, compressed) == stored;
        if good { Ok(()) } else { Err(FrameError::Checksum) }
    }

    /// Decompresses what follows, once it is checked.
    ///
    /// # Errors
    ///
    /// When it is not as long as it has to be, or nothing that can be decompressed.
    pub fn open(&self, compressed: &[u8]) -> Result<Vec<u8>, FrameError> {
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
        write(&mut frame, Kind::Checkpoint, b"some payload, some payload").expect("small");
        assert_eq!(open(&frame).as_deref(), Ok(&b"some payload, some payload"[..]));
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn foreign_newer_and_mangled_files_are_told_apart() {
        let good = header();
        assert_eq!(check_header(&good), Ok(()));
        assert_eq!(check_header(&[]), Err(HeaderError::Short));
        assert_eq!(check_header(&good[..9]), Err(HeaderError::Short));
        assert_eq!(check_header(b"PERFILE2"), Err(HeaderError::Foreign));
        assert_eq!(check_header(b"PERFILE2 and much more"), Err(HeaderError::Foreign));
        let changed = |at: usize, to: u8| {
            let mut bytes = good;
            bytes[at] = to;
            check_header(&bytes)
        };
        assert_eq!(changed(8, 2), Err(HeaderError::Newer { found: 2 }));
        assert_eq!(changed(15, 0x80), Err(HeaderError::Features { unknown: 0x8000_0000 }));
        assert_eq!(changed(0, b'?'), Err(HeaderError::Text));
        assert_eq!(changed(6, b'\n'), Err(HeaderError::Text));
    }
}
