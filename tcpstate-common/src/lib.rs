//! What crosses the boundary between the BPF programs and user space, and nothing else.
//!
//! Every type here is `repr(C)`, fixed-width and explicitly padded; its size and the offsets that matter are asserted at
//! compile time. No `bool`, `enum`, `Option` or `IpAddr` crosses: the kernel side writes integers, user space turns them
//! into enums with `TryFrom` and shows what it does not know as a number.
#![cfg_attr(not(feature = "user"), no_std)]

pub mod arch;
pub mod config;
pub mod counters;
pub mod event;
pub mod helper;
pub mod layout;
pub mod leak;
pub mod state;

/// Version of everything in this crate. The loader refuses an object of another version, so that a stale
/// object is an error at start and not a table of nonsense. Bump it, and the name below, with every change of a
/// type in this crate.
pub const ABI_VERSION: u32 = 2;

/// Name of the object's global that carries its [`ABI_VERSION`]: a loader of another version does not find it.
pub const ABI_SYMBOL: &str = "TCPSTATE_ABI_2";

/// Length of `task_struct.comm`, NUL included (`TASK_COMM_LEN`, `include/linux/sched.h`).
pub const COMM_LEN: usize = 16;

/// An IPv6 address in network byte order; IPv4 is stored v4-mapped (`::ffff:a.b.c.d`), the family tells which it was.
pub type Address = [u8; 16];
