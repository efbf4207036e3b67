//! What of all that happens is wanted.

pub(crate) mod socket;
