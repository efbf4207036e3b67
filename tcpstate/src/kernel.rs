//! The kernel side as user space sees it: the only user of aya.
//!
//! [`Tracer::start`] reads the kernel's BTF, loads and attaches the programs, takes the snapshot, and only then lets records
//! flow; [`Tracer::drain`] hands them out as bytes.

mod btf;
mod follow;
mod helpers;
mod hooks;
mod leaks;
mod loader;
mod missed;
mod object;
mod probe;
mod refusal;
mod ring;
mod snapshot;
mod system;
mod tracer;

pub use btf::BtfError;
pub use leaks::FoundThread;
pub use probe::probe;
pub use tracer::{Tracer, TracerOptions};
