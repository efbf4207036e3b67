//! The kernel side as user space sees it: the only user of aya.
//!
//! [`Tracer::start`] reads the kernel's BTF, loads and attaches the programs, takes the snapshot, and only then lets records
//! flow; [`Tracer::drain`] hands them out as bytes.

mod btf;
mod follow;
mod held;
mod helpers;
mod hooks;
mod inheritance;
mod leaks;
mod loader;
mod missed;
mod object;
mod probe;
mod refusal;
mod ring;
mod snapshot;
mod system;
mod task_files;
mod tracer;

pub use btf::BtfError;
pub use leaks::{FoundThread, StackRecord};
pub use probe::probe;
pub use tracer::{Tracer, TracerOptions};
