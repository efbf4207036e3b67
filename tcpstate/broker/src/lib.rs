//! The only part of tcpstate that reads what belongs to other processes: lines of `/proc`, memory, and files that they map.
//!
//! It has the privileges for that, so it understands nothing of what it reads but lines of `/proc`, and does so by rules of its own,
//! whoever asks: [`Broker::answer`] is all of it. What it opens are regular files that the process maps, and debug info and perf maps
//! that the process itself could open. Each bound is a constant beside the code that keeps it.
//!
//! [`Relay`] is the tracer's part between the worker, who may lie, and the broker.

#![forbid(unsafe_code)]

mod debug_files;
mod mappings;
pub mod process;
mod relay;
mod serve;
mod subjects;
mod vault;

pub use relay::{AskBroker, Lost, Program, Relay};
pub use serve::{Broker, serve};
pub use vault::{Entry, Vault};
