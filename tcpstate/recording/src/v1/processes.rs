//! What frames of the first kinds do not say of the processes that they name: when these began. A frame before each of those frames says
//! it.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use tcpstate_core::model::{
    Owner, ProcessStart,
    event::Event,
    leak::{Actor, LeakEvent, Snapshot},
};

use super::{
    bytes::{EncodeError, from_bytes, to_bytes},
    many::Many,
};
use crate::{budget::Budget, content::Content, frame::FrameError};

/// Of the frame that follows.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessesV1 {
    /// Starts of owners and other actors, in the order in which the frame names them; only where it is another one than that which the
    /// frame named last under this number: how many it names in between, and the start, nanoseconds, 0 for none.
    starts: Many<(u32, u64)>,
    /// Holders in the snapshot, by their numbers, and their starts.
    holders: Many<(u32, u64)>,
    /// Holders of each listener of the snapshot.
    listeners: Many<Many<u32>>,
}

impl ProcessesV1 {
    /// What has to precede the frame of this content, if anything.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub(crate) fn payload(content: &Content) -> Result<Option<Vec<u8>>, EncodeError> {
        let processes = Self::of(content);
        if processes == Self::default() { Ok(None) } else { to_bytes(&processes).map(Some) }
    }

    /// Reads such a payload.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(crate) fn read(payload: &[u8], budget: &mut Budget) -> Result<Self, FrameError> {
        from_bytes(payload, budget)
    }

    fn of(content: &Content) -> Self {
        let mut processes = Self::default();
        let mut known: HashMap<u32, Option<ProcessStart>> = HashMap::new();
        let mut between = 0;
        let mut name = |pid: u32, start: Option<ProcessStart>| {
            if known.insert(pid, start).flatten() == start {
                between += 1;
            } else {
                processes.starts.push((between, ProcessStart::to_ns(start)));
                between = 0;
            }
        };
        match content {
            Content::Events(events) => events.iter().for_each(|event| named_by(event, &mut name)),
            Content::Sockets(sockets) => sockets.iter().filter_map(|socket| socket.owner).for_each(|owner| {
                name(owner.pid, owner.start);
            }),
            Content::Checkpoint(checkpoint) => {
                if let Some(snapshot) = &checkpoint.snapshot {
                    snapshot.listeners.iter().filter_map(|listener| listener.owner).for_each(|owner| {
                        name(owner.pid, owner.start);
                    });
                    let Snapshot { starts, listeners, .. } = snapshot;
                    processes.holders = starts.iter().map(|(&pid, &ProcessStart(ns))| (pid, ns.get())).collect();
                    if listeners.iter().any(|listener| !listener.holders.is_empty()) {
                        processes.listeners =
                            listeners.iter().map(|listener| listener.holders.clone().into()).collect();
                    }
                }
            }
            _ => {}
        }
        processes
    }

    /// Says it of the content of the frame that follows.
    pub(crate) fn complete(self, content: &mut Content) {
        let mut starts = self.starts.into_iter();
        let mut next = starts.next();
        let mut known: HashMap<u32, Option<ProcessStart>> = HashMap::new();
        let mut name = |pid: u32, start: &mut Option<ProcessStart>| {
            match &mut next {
                Some((0, ns)) => {
                    known.insert(pid, ProcessStart::from_ns(*ns));
                    next = starts.next();
                }
                Some((between, _)) => *between -= 1,
                None => {}
            }
            *start = known.get(&pid).copied().flatten();
        };
        match content {
            Content::Events(events) => events.iter_mut().for_each(|event| named_in(event, &mut name)),
            Content::Sockets(sockets) => {
                sockets.iter_mut().filter_map(|socket| socket.owner.as_mut()).for_each(|owner| {
                    name(owner.pid, &mut owner.start);
                });
            }
            Content::Checkpoint(checkpoint) => {
                if let Some(snapshot) = &mut checkpoint.snapshot {
                    snapshot.listeners.iter_mut().filter_map(|listener| listener.owner.as_mut()).for_each(|owner| {
                        name(owner.pid, &mut owner.start);
                    });
                    let start = |(pid, ns)| Some((pid, ProcessStart::from_ns(ns)?));
                    snapshot.starts = self.holders.into_iter().filter_map(start).collect();
                    for (listener, holders) in snapshot.listeners.iter_mut().zip(self.listeners) {
                        listener.holders = holders.into();
                    }
                }
            }
            _ => {}
        }
    }
}

/// The process that an event names, if it is one that is written.
fn named_by(event: &Event, name: &mut impl FnMut(u32, Option<ProcessStart>)) {
    let mut event = *event;
    named_in(&mut event, &mut |pid, start| name(pid, *start));
}

fn named_in(event: &mut Event, name: &mut impl FnMut(u32, &mut Option<ProcessStart>)) {
    match event {
        Event::Transition(transition) | Event::Entered { transition, .. } => {
            if let Some(Owner { pid, start, .. }) = &mut transition.owner {
                name(*pid, start);
            }
        }
        Event::Beside(LeakEvent::Accepted { owner: Owner { pid, start, .. }, .. }) => name(*pid, start),
        Event::Beside(
            LeakEvent::EofRead { by: Actor { pid, start, .. }, .. }
            | LeakEvent::Left { closed: Some((Actor { pid, start, .. }, _)), .. },
        ) => name(*pid, start),
        Event::Beside(
            LeakEvent::Entered { .. }
            | LeakEvent::Left { closed: None, .. }
            | LeakEvent::Closed { .. }
            | LeakEvent::Closing(_)
            | LeakEvent::Destroyed { .. },
        ) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::{collection::vec, prelude::*};
    use tcpstate_core::model::{Comm, MonotonicNs, OwnerSource, SocketId};

    use super::*;
    use crate::{Frames, Reader, header::header};

    fn event(pid: u32, start: u64, accepted: bool) -> Event {
        let (comm, start) = (Comm([0; 16]), ProcessStart::from_ns(start));
        let socket = SocketId { cookie: NonZeroU64::new(1), skaddr: 1 };
        Event::Beside(if accepted {
            let owner = Owner { pid, tid: pid, comm, source: OwnerSource::Accept, start };
            LeakEvent::Accepted { at: MonotonicNs(1), socket, owner, opened: None }
        } else {
            let by = Actor { pid, tid: pid, comm, start };
            LeakEvent::EofRead { at: MonotonicNs(1), socket, by, place: None }
        })
    }

    fn without_starts(mut content: Content) -> Content {
        ProcessesV1::default().complete(&mut content);
        content
    }

    proptest! {
        /// Numbers that come again, with other starts and without.
        #[test]
        fn starts_come_back(events in vec((1..4_u32, 0..3_u64, any::<bool>()), 0..30)) {
            let events = events.into_iter().map(|(pid, start, accepted)| event(pid, start, accepted)).collect();
            let content = Content::Events(events);
            let mut frames = Frames::default();
            frames.push(content.clone()).expect("memory");
            frames.push(without_starts(content.clone())).expect("memory");
            let bytes = [&header()[..], frames.bytes()].concat();
            let mut reader = Reader::new(&bytes[..]).expect("a recording");
            prop_assert_eq!(reader.frame().expect("whole"), Some(content.clone()));
            prop_assert_eq!(reader.frame().expect("whole"), Some(without_starts(content)), "only of the frame right after it");
            prop_assert_eq!(reader.frame().expect("the end"), None);
        }

        /// One that belongs to another frame does no harm.
        #[test]
        fn any_fits(starts in vec(any::<(u32, u64)>(), 0..9), events in vec((1..4_u32, 0..3_u64, any::<bool>()), 0..9)) {
            let events = events.into_iter().map(|(pid, start, accepted)| event(pid, start, accepted)).collect();
            let mut content = Content::Events(events);
            ProcessesV1 { starts: starts.into(), ..ProcessesV1::default() }.complete(&mut content);
        }
    }
}
