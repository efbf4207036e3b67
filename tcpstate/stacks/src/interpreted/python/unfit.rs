//! What keeps frames of a `CPython` from being taken.

/// Why frames of a `CPython` are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::interpreted) enum Unfit {
    /// The process has ended, or lies.
    #[error("memory of a CPython cannot be read")]
    Memory,
    /// It was built so that no extension module can be loaded.
    #[error("a CPython whose types have no names")]
    Stripped,
    /// Another one than those whose layout is known.
    #[error("CPython {0}.{1} is not known")]
    Unknown(u8, u8),
    /// It says so nowhere, and it is none of those that do not.
    #[error("a CPython whose version is not known")]
    Unversioned,
    /// It says nothing that makes sense.
    #[error("{0} without an offset that makes sense of {1}")]
    Offset(&'static str, &'static str),
    /// Its threads run at once.
    #[error("{0} without a global interpreter lock is not known")]
    FreeThreaded(&'static str),
    /// It is another one than it says, or was built otherwise.
    #[error("{0} whose type `{1}` is not what is known of it")]
    Type(&'static str, &'static str),
    /// There may be one later.
    #[error("{0} whose threads are not found")]
    NoThread(&'static str),
    /// It keeps that elsewhere.
    #[error("{0} whose threads have their state at no common place")]
    NoSlot(&'static str),
    /// There may be one later.
    #[error("{0} none of whose threads executes a function")]
    Idle(&'static str),
    /// It is another one than it says, or was built otherwise.
    #[error("{0} whose frames are not what is known of it")]
    Frames(&'static str),
}
