//! Where in their programs tasks are, and copies of their stacks.

pub(crate) mod capture;
mod code;
mod copy;
pub(crate) mod interpreted;
mod memo;
mod place;
