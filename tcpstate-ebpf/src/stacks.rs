//! Where in their programs tasks are, and copies of their stacks.

pub(crate) mod capture;
mod code;
mod copy;
mod interpreted;
mod memo;
mod place;
