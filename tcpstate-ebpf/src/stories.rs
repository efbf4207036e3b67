//! What the kernel side keeps of live sockets.

pub(crate) mod listener;
pub(crate) mod owner;
pub(crate) mod progress;
pub(crate) mod story;
