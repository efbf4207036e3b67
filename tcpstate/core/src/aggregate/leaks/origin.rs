//! Where sockets come from: what makes them one group.

use crate::model::leak::PlaceId;

/// Sockets of one origin were opened by the same code of the same process for the same service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The process whose leak it is; `None` when neither an opener nor a holder is known.
    pub pid: Option<u32>,
    /// The process that opened them, where it is another one.
    pub opener: Option<u32>,
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
    /// It happened during the trace, by an `accept()` that no hook sees or that was under way at the start.
    NotSeen,
    /// It has not happened: nobody has accepted the connection.
    NotAccepted,
}

impl Opening {
    /// The place, seen or inferred.
    #[must_use]
    pub const fn place(self) -> Option<PlaceId> {
        match self {
            Self::Seen(place) | Self::Inferred(place) => Some(place),
            Self::NotTaken | Self::BeforeTrace | Self::NotSeen | Self::NotAccepted => None,
        }
    }
}
