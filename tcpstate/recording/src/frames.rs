//! Contents on their way into a file.

use std::io;

use super::{content::Content, frame, v1};

/// Whole frames, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Appends the frame of a content, and before it what that does not say of its processes; all of it or nothing.
    ///
    /// # Errors
    ///
    /// When there is more in it than a reader takes, or no memory.
    pub fn push(&mut self, content: Content) -> io::Result<()> {
        let kind = content.kind();
        let processes = v1::ProcessesV1::payload(&content).map_err(io::Error::other)?;
        let payload = v1::encode(content).map_err(io::Error::other)?;
        let before = self.bytes.len();
        let written = processes
            .map_or(Ok(()), |processes| frame::write(&mut self.bytes, frame::PROCESSES, &processes))
            .and_then(|()| frame::write(&mut self.bytes, kind as u16, &payload));
        if written.is_err() {
            self.bytes.truncate(before);
        }
        written
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
