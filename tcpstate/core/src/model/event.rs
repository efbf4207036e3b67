//! Transitions and what leak hunting is told beside them, in one stream.

use super::{
    MonotonicNs, Transition,
    leak::{Closing, LeakEvent, PlaceId, SocketFacts},
};

/// One of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transition, but not into CLOSE_WAIT.
    Transition(Transition),
    /// The transition into CLOSE_WAIT.
    Entered {
        /// The transition.
        transition: Transition,
        /// Where the socket was opened, if that was seen.
        opened: Option<PlaceId>,
    },
    /// Anything else that leak hunting is told; never [`LeakEvent::Entered`].
    Beside(LeakEvent),
}

impl Event {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> MonotonicNs {
        match self {
            Self::Transition(transition) | Self::Entered { transition, .. } => transition.at,
            Self::Beside(event) => event.at(),
        }
    }

    /// The transition, if it is one.
    #[must_use]
    pub fn transition(&self) -> Option<&Transition> {
        match self {
            Self::Transition(transition) | Self::Entered { transition, .. } => Some(transition),
            Self::Beside(_) => None,
        }
    }

    /// What it says to leak hunting, if anything.
    #[must_use]
    pub fn leak(&self) -> Option<LeakEvent> {
        match *self {
            Self::Transition(_) => None,
            Self::Entered { ref transition, opened } => Some(LeakEvent::Entered {
                at: transition.at,
                facts: SocketFacts::from(transition),
                owner: transition.owner,
                opened,
            }),
            Self::Beside(event) => Some(event),
        }
    }
}

impl From<&Transition> for SocketFacts {
    fn from(transition: &Transition) -> Self {
        let Transition { socket, family, protocol, local, remote, netns, cgroup, uid, .. } = *transition;
        Self { id: socket, family, protocol, local, remote, netns, cgroup, uid }
    }
}

impl LeakEvent {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> MonotonicNs {
        match *self {
            Self::Entered { at, .. }
            | Self::Accepted { at, .. }
            | Self::EofRead { at, .. }
            | Self::Left { at, .. }
            | Self::Closed { at, .. }
            | Self::Destroyed { at, .. }
            | Self::Closing(Closing { at, .. }) => at,
        }
    }
}
