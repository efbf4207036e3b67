//! Version 1 of the format, as `schema/recording-v1.md` has it: payloads of frames.
//!
//! The types here are those of files, and change no more: a field more, or another order, is another version. They are made of
//! the model's types and become those, at [`encode`] and [`decode`] alone.

mod activity;
mod bytes;
mod census;
mod checkpoint;
mod dictionary;
mod events;
mod many;
mod notes;
mod processes;
mod snapshot;
mod socket;
mod stack;
mod start;

use std::sync::Arc;

use tcpstate_core::model::{
    activity::Activity,
    census::ListedSocket,
    leak::{FoundSocket, PlaceId},
    stack::{Frame, Stack},
};

pub use self::bytes::EncodeError;
pub(crate) use self::processes::ProcessesV1;
use self::{
    activity::ActivityV1,
    bytes::{from_bytes, malformed, to_bytes},
    census::{CensusGapsV1, CensusPartV1, CensusV1},
    checkpoint::CheckpointV1,
    many::Many,
    notes::{CountsV1, EndV1, NamesV1, UnseenV1},
    snapshot::{FoundSocketV1, TrafficV1},
    stack::StackV1,
    start::StartV1,
};
use super::{
    budget::Budget,
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
        Content::Traffic(traffic) => {
            to_bytes(&traffic.into_iter().map(|traffic| traffic.map(Into::into)).collect::<Vec<Option<TrafficV1>>>())
        }
        Content::Activities(activities) => {
            let activity = |(pid, activity): (u32, Activity)| (pid, ActivityV1::from(activity));
            to_bytes(&activities.into_iter().map(activity).collect::<Vec<_>>())
        }
        Content::Checkpoint(checkpoint) => to_bytes(&CheckpointV1::from(*checkpoint)),
        Content::Stacks(stacks) => {
            let stack = |(PlaceId(place), stack): (_, Arc<_>)| (place, StackV1::from(&*stack));
            to_bytes(&stacks.into_iter().map(stack).collect::<Vec<(u64, StackV1)>>())
        }
        Content::Names(names) => to_bytes(&NamesV1::from(names)),
        Content::Counts(counts) => to_bytes(&CountsV1::from(counts)),
        Content::Unseen(unseen) => to_bytes(&UnseenV1::from(unseen)),
        Content::CensusPart(part) => to_bytes(&CensusPartV1::from(&part)),
        Content::CensusGaps(gaps) => to_bytes(&CensusGapsV1::from(gaps)),
        Content::Census(rest) => to_bytes(&CensusV1::from(*rest)),
        Content::End(end) => to_bytes(&EndV1::from(end)),
    }
}

/// What the payload of a frame says. Whatever the bytes are: no index is trusted, and nothing is allocated that they do not fill.
///
/// # Errors
///
/// When they are none that [`encode`] gives, or take more memory than they are allowed.
pub fn decode(kind: FrameKind, payload: &[u8]) -> Result<Content, FrameError> {
    decode_within(&mut Budget::of_payload(payload.len()), kind, payload)
}

/// The same of a file that may still take so much.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn decode_within(budget: &mut Budget, kind: FrameKind, payload: &[u8]) -> Result<Content, FrameError> {
    Ok(match kind {
        FrameKind::Start => Content::Start(Box::new(from_bytes::<StartV1>(payload, budget)?.into())),
        FrameKind::Events => Content::Events(events::decode(payload, budget)?),
        FrameKind::Sockets => {
            let sockets: Many<FoundSocketV1> = from_bytes(payload, budget)?;
            budget.charge_for::<FoundSocket>(sockets.len())?;
            Content::Sockets(sockets.into_iter().map(Into::into).collect())
        }
        FrameKind::Traffic => {
            let traffic: Many<Option<TrafficV1>> = from_bytes(payload, budget)?;
            Content::Traffic(traffic.into_iter().map(|traffic| traffic.map(Into::into)).collect())
        }
        FrameKind::Activities => {
            let activities: Many<(u32, ActivityV1)> = from_bytes(payload, budget)?;
            Content::Activities(activities.into_iter().map(|(pid, activity)| (pid, activity.into())).collect())
        }
        FrameKind::Checkpoint => Content::Checkpoint(Box::new(from_bytes::<CheckpointV1>(payload, budget)?.into())),
        FrameKind::Stacks => {
            let stacks: Many<(u64, StackV1)> = from_bytes(payload, budget)?;
            // They are kept beside those that tell which are alike.
            let frames = stacks.iter().map(|(_, stack)| stack.frames()).sum();
            budget.charge_for::<Frame>(frames)?;
            budget.charge_for::<(PlaceId, Stack)>(stacks.len())?;
            let stack = |(place, stack): (u64, StackV1)| (PlaceId(place), Arc::new(stack.into()));
            Content::Stacks(stacks.into_iter().map(stack).collect())
        }
        FrameKind::Names => Content::Names(from_bytes::<NamesV1>(payload, budget)?.into()),
        FrameKind::Counts => Content::Counts(from_bytes::<CountsV1>(payload, budget)?.into()),
        FrameKind::Unseen => Content::Unseen(from_bytes::<UnseenV1>(payload, budget)?.into()),
        FrameKind::CensusPart => {
            let part: CensusPartV1 = from_bytes(payload, budget)?;
            budget.charge_for::<ListedSocket>(part.len())?;
            Content::CensusPart(part.part().ok_or_else(malformed)?)
        }
        FrameKind::CensusGaps => Content::CensusGaps(from_bytes::<CensusGapsV1>(payload, budget)?.into()),
        FrameKind::Census => {
            Content::Census(Box::new(from_bytes::<CensusV1>(payload, budget)?.rest().ok_or_else(malformed)?))
        }
        FrameKind::End => Content::End(from_bytes::<EndV1>(payload, budget)?.into()),
    })
}
