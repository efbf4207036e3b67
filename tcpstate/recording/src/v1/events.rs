//! Events in columns: what is alike stands together, and what is known already is not written again.
//!
//! A block stands for itself: its dictionaries are its own, so that nothing before it is needed to read it.

mod block;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub(super) use self::{decode::decode, encode::encode};
