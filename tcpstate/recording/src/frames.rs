//! Contents on their way into a file.

use std::io;

use super::{content::Content, frame, v1};

/// Whole frames, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Appends a frame, all of it or nothing.
    ///
    /// # Errors
    ///
    /// When there is more in it than a reader takes, or no memory.
    pub fn push(&mut self, content: Content) -> io::Result<()> {
        let kind = content.kind();
        let payload = v1::encode(content).map_err(io::Error::other)?;
        frame::write(&mut self.bytes, kind, &payload)
    }

    /// Bytes of them all.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}
