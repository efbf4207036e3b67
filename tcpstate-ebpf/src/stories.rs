//! What the kernel side keeps of live sockets.

pub(crate) mod holding;
pub(crate) mod listener;
pub(crate) mod listening;
pub(crate) mod owner;
pub(crate) mod progress;
pub(crate) mod story;
pub(crate) mod unseen;
