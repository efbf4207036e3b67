//! Places in programs, and the stacks they are told by.

pub(crate) mod capture;
pub(crate) mod place;
