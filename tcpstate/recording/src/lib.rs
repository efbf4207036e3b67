//! Recordings: what the aggregators were told, in a file that can be read elsewhere. The format is documented in
//! `schema/recording-v1.md`.
//!
//! A [`Writer`] takes [`Content`], a [`Reader`] gives it back, both in the types of the model. What a file holds has types of its
//! own, one module for each version of the format ([`v1`]): whatever becomes of the model, a file of long ago stays readable.

mod budget;
mod content;
mod frame;
mod frames;
mod header;
mod reader;
mod series;
pub mod v1;
mod writer;

pub use self::{
    content::{CensusGaps, CensusPart, CensusRest, Checkpoint, Content, Counts, Names, RecordingEnd, Start},
    frame::{EVENTS_IN_A_FRAME, FrameError, FrameKind, SOCKETS_IN_A_FRAME},
    frames::Frames,
    header::HeaderError,
    reader::{ReadError, Reader},
    writer::{CreateError, Rotation, Writer},
};
