//! A recording from any reader of bytes, as far as it can be trusted.

use std::io::{self, Read};

use super::{
    content::Content,
    frame::{FRAME_HEADER, FrameError, FrameHeader, FrameKind},
    header::{HEADER, HeaderError, Version, version},
    v1,
};

/// Why there is no more to be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is no recording.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame is damaged or missing; what came before is good.
    #[error("at byte {offset}: {error}")]
    Frame {
        /// Where the frame begins in the file.
        offset: u64,
        /// What is wrong with it.
        error: FrameError,
    },
}

/// Reads frame by frame.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    version: Version,
    /// Bytes until the next frame.
    offset: u64,
    /// Frames of kinds that are not known.
    skipped: u64,
    /// Kinds that are checked, but not decoded.
    unwanted: Vec<FrameKind>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// When this is no recording, or one of a format that is not known.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut header = Vec::with_capacity(HEADER);
        input.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
        let version = version(&header)?;
        Ok(Self { input, version, offset: HEADER as u64, skipped: 0, unwanted: Vec::new() })
    }

    /// Passes over frames of these kinds, once their checksums are seen to match.
    #[must_use]
    pub fn without(mut self, kinds: &[FrameKind]) -> Self {
        self.unwanted = kinds.to_vec();
        self
    }

    /// Where the next frame begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Frames that were skipped because a later program wrote them.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next frame; `None` where the file ends after a whole one.
    ///
    /// # Errors
    ///
    /// When there is another one that cannot be read. Nothing more should be read then.
    pub fn frame(&mut self) -> Result<Option<Content>, ReadError> {
        loop {
            let offset = self.offset;
            let failed = |error| ReadError::Frame { offset, error };
            let Some(header) = self.header()? else { return Ok(None) };
            let header = FrameHeader::parse(header).map_err(failed)?;
            let mut compressed = Vec::new();
            // Grows as the bytes come, whatever the header promises.
            self.input.by_ref().take(header.compressed as u64).read_to_end(&mut compressed)?;
            if compressed.len() < header.compressed {
                return Err(failed(FrameError::CutOff));
            }
            header.check(&compressed).map_err(failed)?;
            self.offset += (FRAME_HEADER + compressed.len()) as u64;
            match FrameKind::from_number(header.kind) {
                Some(kind) if self.unwanted.contains(&kind) => {}
                Some(kind) => {
                    let content = header.open(&compressed).and_then(|payload| self.content(kind, &payload));
                    return content.map(Some).map_err(failed);
                }
                None => self.skipped += 1,
            }
        }
    }

    fn content(&self, kind: FrameKind, payload: &[u8]) -> Result<Content, FrameError> {
        match self.version {
            Version::V1 => v1::decode(kind, payload),
        }
    }

    fn header(&mut self) -> Result<Option<[u8; FRAME_HEADER]>, ReadError> {
        let mut header = Vec::with_capacity(FRAME_HEADER);
        self.input.by_ref().take(FRAME_HEADER as u64).read_to_end(&mut header)?;
        match <[u8; FRAME_HEADER]>::try_from(header) {
            Ok(header) => Ok(Some(header)),
            Err(rest) if rest.is_empty() => Ok(None),
            Err(_) => Err(ReadError::Frame { offset: self.offset, error: FrameError::CutOff }),
        }
    }
}
