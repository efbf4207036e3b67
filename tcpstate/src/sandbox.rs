//! The processes that read other programs for us, and the thread that talks with them.
//!
//! Whoever runs a program chose its files, its memory and its mappings, and some of that never answers. So none of it is read by a thread
//! that events wait for, and none of it understood by a process with privileges:
//!
//! ```text
//!  events ──copies of stacks──▶ thread ──tasks──▶ worker   (no privileges; parses everything)
//!         ◀──stacks, names────         ◀──needs──
//!                                      ──requests─▶ broker (privileges; opens and reads by rules, understands nothing)
//! ```
//!
//! The thread has a deadline for everything that it asks. A worker or a broker that dies, or takes too long, is replaced, and what it was
//! reading is set aside.

mod aside;
mod beginning;
mod calls;
mod child;
mod desk;
mod interpreter;
mod interpreters;
mod interpreting;
mod naming;
mod patience;
mod question;
mod queue;
pub mod role;
mod staff;
mod taken;
mod thread;
mod truncation;

pub(crate) use interpreters::Interpretable;
pub(crate) use question::{BusyProcess, Named, NamedStack, SleeperStack, Sleeping, Wakers};
pub(crate) use taken::{Came, TakenCopy, TakenStack, Unwound, addresses};
pub(crate) use thread::Sandbox;
