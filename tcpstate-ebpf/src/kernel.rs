//! The kernel's side of a hook: its structures, as far as they are read, and the running task.

pub(crate) mod cgroup;
pub(crate) mod current;
pub(crate) mod file;
pub(crate) mod iter;
pub(crate) mod read;
pub(crate) mod registers;
pub(crate) mod ring;
pub(crate) mod sock;
pub(crate) mod state;
pub(crate) mod syscall;
pub(crate) mod task;
