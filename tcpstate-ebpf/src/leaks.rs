//! What leak hunting tells of sockets in CLOSE_WAIT.

pub(crate) mod close_wait;
pub(crate) mod closer;
