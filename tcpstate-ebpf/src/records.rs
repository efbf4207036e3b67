//! What goes to user space: each record is filled in one place, where it lies, since the BPF stack has no room for it.

pub(crate) mod closing;
pub(crate) mod found;
pub(crate) mod ring;
pub(crate) mod socket_event;
pub(crate) mod transition;
mod write;
