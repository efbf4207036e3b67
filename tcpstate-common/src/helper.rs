//! Helper functions that not every kernel offers to tracing programs.
//!
//! User space tries each at start and freezes the bits of those there are into `.rodata`: the verifier never looks at a call
//! that cannot be reached, so one object serves every kernel.

/// `bpf_get_socket_cookie()` of a typed socket (Linux 5.12).
pub const SOCKET_COOKIE: u32 = 1 << 0;
/// `bpf_sock_from_file()` (Linux 5.11).
pub const SOCKET_FROM_FILE: u32 = 1 << 1;
/// `bpf_get_current_task_btf()` and `bpf_task_pt_regs()` (Linux 5.15).
pub const TASK_REGISTERS: u32 = 1 << 2;
/// `bpf_probe_read_kernel()`; not under `lockdown=confidentiality`.
pub const READ_KERNEL: u32 = 1 << 3;
/// `bpf_probe_read_user()`.
pub const READ_USER: u32 = 1 << 4;
