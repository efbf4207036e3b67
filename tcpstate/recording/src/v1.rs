//! Version 1 of the format, as `schema/recording-v1.md` has it: payloads of frames.
//!
//! The types here are those of files, and change no more: a field more, or another order, is another version. They are made of
//! the model's types and become those, at [`encode`] and [`decode`] alone.

mod bytes;
mod census;
mod checkpoint;
mod dictionary;
mod events;
mod notes;
mod snapshot;
mod socket;
mod stack;
mod start;

use std::sync::Arc;

use tcpstate_core::model::leak::PlaceId;

pub use self::bytes::EncodeError;
use self::{
    bytes::{from_bytes, malformed, to_bytes},
    census::{CensusPartV1, CensusV1},
    checkpoint::CheckpointV1,
    notes::{CountsV1, EndV1, NamesV1},
    snapshot::FoundSocketV1,
    stack::StackV1,
    start::StartV1,
};
use super::{
    content::Content,
    frame::{FrameError, FrameKind},
};

/// The payload of the frame that says this.
///
/// # Errors
///
/// When there is no memory.
pub fn encode(content: Content) -> Result<Vec<u8>, EncodeError> {
    match content {
        Content::Start(start) => to_bytes(&StartV1::from(*start)),
        Content::Events(events) => events::encode(&events),
        Content::Sockets(sockets) => to_bytes(&sockets.into_iter().map(Into::into).collect::<Vec<FoundSocketV1>>()),
        Content::Checkpoint(checkpoint) => to_bytes(&CheckpointV1::from(*checkpoint)),
        Content::Stacks(stacks) => {
            let stack = |(PlaceId(place), stack): (_, Arc<_>)| (place, StackV1::from(&*stack));
            to_bytes(&stacks.into_iter().map(stack).collect::<Vec<(u64, StackV1)>>())
        }
        Content::Names(names) => to_bytes(&NamesV1::from(names)),
        Content::Counts(counts) => to_bytes(&CountsV1::from(counts)),
        Content::CensusPart(part) => to_bytes(&CensusPartV1::from(&part)),
        Content::Census(rest) => to_bytes(&CensusV1::from(*rest)),
        Content::End(end) => to_bytes(&EndV1::from(end)),
    }
}

/// What the payload of a frame says. Whatever the bytes are: no index is trusted, and nothing is allocated that they do not fill.
///
/// # Errors
///
/// When they are none that [`encode`] gives.
pub fn decode(kind: FrameKind, payload: &[u8]) -> Result<Content, FrameError> {
    Ok(match kind {
        FrameKind::Start => Content::Start(Box::new(from_bytes::<StartV1>(payload)?.into())),
        FrameKind::Events => Content::Events(events::decode(payload)?),
        FrameKind::Sockets => {
            let sockets: Vec<FoundSocketV1> = from_bytes(payload)?;
            Content::Sockets(sockets.into_iter().map(Into::into).collect())
        }
        FrameKind::Checkpoint => Content::Checkpoint(Box::new(from_bytes::<CheckpointV1>(payload)?.into())),
        FrameKind::Stacks => {
            let stacks: Vec<(u64, StackV1)> = from_bytes(payload)?;
            let stack = |(place, stack): (u64, StackV1)| (PlaceId(place), Arc::new(stack.into()));
            Content::Stacks(stacks.into_iter().map(stack).collect())
        }
        FrameKind::Names => Content::Names(from_bytes::<NamesV1>(payload)?.into()),
        FrameKind::Counts => Content::Counts(from_bytes::<CountsV1>(payload)?.into()),
        FrameKind::CensusPart => {
            Content::CensusPart(from_bytes::<CensusPartV1>(payload)?.part().ok_or_else(malformed)?)
        }
        FrameKind::Census => Content::Census(Box::new(from_bytes::<CensusV1>(payload)?.rest().ok_or_else(malformed)?)),
        FrameKind::End => Content::End(from_bytes::<EndV1>(payload)?.into()),
    })
}
