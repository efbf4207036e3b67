//! What of all that happens is wanted.

pub(crate) mod followed;
pub(crate) mod owner;
pub(crate) mod socket;
