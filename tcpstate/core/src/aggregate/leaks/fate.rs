//! What became of a leaked socket.

/// What became of leaked sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Nothing but the exit of the last process that held them closed them.
    Exited,
    /// The process closed them as it cleaned up at its exit.
    CleanedUp,
    /// They were still there at the end.
    Open,
    /// The program closed them, but they had been in CLOSE_WAIT for longer than it may last.
    ClosedLate,
}

impl Fate {
    /// The name that reports use, such as `closed-by-exit`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exited => "closed-by-exit",
            Self::CleanedUp => "closed-at-exit",
            Self::Open => "open-at-end",
            Self::ClosedLate => "closed-late",
        }
    }
}
