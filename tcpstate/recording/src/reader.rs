//! A recording from any reader of bytes, as far as it can be trusted.

use std::io::{self, Read};

use super::{
    budget::Budget,
    content::Content,
    frame::{FRAME_HEADER, FrameError, FrameHeader, FrameKind, PROCESSES},
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
    /// What it may still take.
    budget: Budget,
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
        Ok(Self { input, version, offset: HEADER as u64, skipped: 0, unwanted: Vec::new(), budget: Budget::new() })
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
        let mut processes = None;
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
            self.budget.begin_frame(FRAME_HEADER + compressed.len());
            if header.kind == PROCESSES {
                processes =
                    Some(self.open(&header, &compressed).and_then(|payload| self.processes(&payload)).map_err(failed)?);
                continue;
            }
            // Of the frame right before.
            let processes = processes.take();
            match FrameKind::from_number(header.kind) {
                Some(kind) if self.unwanted.contains(&kind) => {}
                Some(kind) => {
                    let content = self.open(&header, &compressed).and_then(|payload| self.content(kind, &payload));
                    let mut content = content.map_err(failed)?;
                    if let Some(processes) = processes {
                        processes.complete(&mut content);
                    }
                    return Ok(Some(content));
                }
                None => self.skipped += 1,
            }
        }
    }

    /// Decompresses a payload, if there is room for it.
    fn open(&mut self, header: &FrameHeader, compressed: &[u8]) -> Result<Vec<u8>, FrameError> {
        self.budget.charge(header.payload)?;
        header.open(compressed)
    }

    fn content(&mut self, kind: FrameKind, payload: &[u8]) -> Result<Content, FrameError> {
        match self.version {
            Version::V1 => v1::decode_within(&mut self.budget, kind, payload),
        }
    }

    fn processes(&mut self, payload: &[u8]) -> Result<v1::ProcessesV1, FrameError> {
        match self.version {
            Version::V1 => v1::ProcessesV1::read(payload, &mut self.budget),
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
