//! What the tests stand on: actors that open real sockets, the tracer under test, namespaces, and the kernel's own account.

pub(crate) mod actor;
pub(crate) mod binary;
pub(crate) mod bpf;
pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod event;
pub(crate) mod fuse;
pub(crate) mod gate;
pub(crate) mod kernel;
pub(crate) mod launch;
pub(crate) mod medley;
pub(crate) mod netns;
pub(crate) mod pair;
mod passing;
pub(crate) mod process;
mod programs;
pub(crate) mod protocol;
pub(crate) mod run;
pub(crate) mod sockets;
pub(crate) mod ss;
pub(crate) mod story;
pub(crate) mod tracer;
pub(crate) mod transcript;
pub(crate) mod wire;
