//! Types of files ↔ bytes.

use serde::{Deserialize, Serialize};

use crate::frame::FrameError;

/// Why a content has no payload: there is no memory.
pub type EncodeError = postcard::Error;

pub(super) fn to_bytes(record: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    postcard::to_stdvec(record)
}

pub(super) fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FrameError> {
    postcard::from_bytes(bytes).map_err(|error| FrameError::Content(error.to_string()))
}

pub(super) fn malformed() -> FrameError {
    FrameError::Content("its columns do not fit together".to_owned())
}
