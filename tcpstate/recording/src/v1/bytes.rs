//! Types of files ↔ bytes.

use serde::{Deserialize, Serialize};

use super::many::charged;
use crate::{budget::Budget, frame::FrameError};

/// Why a content has no payload: there is no memory.
pub type EncodeError = postcard::Error;

pub(super) fn to_bytes(record: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    postcard::to_stdvec(record)
}

/// Reads a record; what it takes is charged.
pub(super) fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8], budget: &mut Budget) -> Result<T, FrameError> {
    let decoded = charged(budget, || postcard::from_bytes(bytes));
    decoded.map_err(|error| match budget.is_exceeded() {
        true => FrameError::TooMuch,
        false => FrameError::Content(error.to_string()),
    })
}

pub(super) fn malformed() -> FrameError {
    FrameError::Content("its columns do not fit together".to_owned())
}
