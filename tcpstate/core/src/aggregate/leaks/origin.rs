//! Where sockets come from: what makes them one group.

use crate::model::{ProcessId, leak::PlaceId};

/// Sockets of one origin were opened by the same code of the same process for the same service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The process whose leak it is; `None` when neither an opener nor a holder is known.
    pub process: Option<ProcessId>,
    /// The process that opened them, where it is another one.
    pub opener: Option<ProcessId>,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Server or client.
    pub side: Side,
    /// The code that opened them.
    pub opening: Opening,
}

impl Origin {
    /// The same for all places whose stacks look the same.
    pub(super) fn folded(self, fold: &dyn Fn(PlaceId) -> PlaceId) -> Self {
        let opening = match self.opening {
            Opening::Seen(place) => Opening::Seen(fold(place)),
            Opening::Inferred(place) => Opening::Inferred(fold(place)),
            other => other,
        };
        Self { opening, ..self }
    }

    /// The origin of sockets of which the opening is inferred from those of this one.
    pub(super) fn as_inferred(self) -> Self {
        match self.opening {
            Opening::Seen(place) => Self { opening: Opening::Inferred(place), ..self },
            _ => self,
        }
    }

    /// The same for sockets whose opening was seen and for those of which it is inferred from these: what is one to a reader.
    pub(super) fn as_if_seen(self) -> Self {
        match self.opening {
            Opening::Inferred(place) => Self { opening: Opening::Seen(place), ..self },
            _ => self,
        }
    }
}

/// Which side of the connections the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It accepts them on this port.
    Accepted(u16),
    /// It connects to this remote port.
    Connected(u16),
    /// Opened before the trace; what they have in common is this local port.
    LocalPort(u16),
    /// Opened before the trace; what they have in common is this remote port.
    RemotePort(u16),
}

/// The code that opened a socket: where `connect()` or `accept()` was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opening {
    /// It was seen.
    Seen(PlaceId),
    /// It was seen of a later leak of the same listener, or of the same process and peer.
    Inferred(PlaceId),
    /// The opening was seen, its stack could not be kept.
    NotTaken,
    /// It happened before the trace, or events of it were lost.
    BeforeTrace,
    /// The same where processes are filtered: or it was done by one that the filters leave out.
    LeftOut,
    /// It happened during the trace, by an `accept()` that no hook sees or that was under way at the start.
    NotSeen,
    /// Whether it happened during the trace is not known: no `accept()` was seen, and nobody has looked whether there is a descriptor.
    NotKnown,
    /// It has not happened: nobody has accepted the connection.
    NotAccepted,
}

impl Opening {
    /// Whether another socket may have to tell how this was opened.
    #[must_use]
    pub(super) const fn is_unseen(self) -> bool {
        matches!(self, Self::BeforeTrace | Self::LeftOut)
    }

    /// The place, seen or inferred.
    #[must_use]
    pub const fn place(self) -> Option<PlaceId> {
        match self {
            Self::Seen(place) | Self::Inferred(place) => Some(place),
            Self::NotTaken | Self::BeforeTrace | Self::LeftOut | Self::NotSeen | Self::NotKnown | Self::NotAccepted => {
                None
            }
        }
    }
}
