//! Recordings that no recorder writes.

use tcpstate_recording::{Content, Frames, Start};

/// The header of a file.
const HEADER: &[u8; 16] = b"\x89TCPST\r\n\x01\0\0\0\0\0\0\0";

/// A recording, frame by frame.
pub(crate) struct Made(Vec<u8>);

impl Made {
    /// One without its first frame.
    pub(crate) fn empty() -> Self {
        Self(HEADER.to_vec())
    }

    pub(crate) fn new(start: Start) -> Self {
        let mut made = Self::empty();
        made.push_content(Content::Start(Box::new(start)));
        made
    }

    /// A frame as it should be.
    pub(crate) fn push_content(&mut self, content: Content) {
        let mut frames = Frames::default();
        frames.push(content).expect("memory");
        self.0.extend(frames.bytes());
    }

    /// A frame of this kind with any payload.
    pub(crate) fn push(&mut self, kind: u16, payload: &[u8]) {
        let compressed = zstd::bulk::compress(payload, 3).expect("memory");
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small").to_le_bytes();
        let header = [&length(&compressed)[..], &length(payload), &kind.to_le_bytes(), &[0, 0]].concat();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header), &compressed);
        self.0.extend([&header[..], &checksum.to_le_bytes(), &compressed].concat());
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A number as postcard writes it.
pub(crate) fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
