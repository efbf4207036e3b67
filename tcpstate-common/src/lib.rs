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
pub mod interpreted;
pub mod layout;
pub mod leak;
pub mod state;

/// Tells the sources of this crate from all other versions of them: the build script makes it of their text, so that no change of a
/// type or of a number can leave it as it was. The programs carry it, and the loader refuses an object that has another one: a stale
/// object is an error at start and not a table of nonsense.
pub const FINGERPRINT: u64 = match u64::from_str_radix(env!("TCPSTATE_COMMON_FINGERPRINT"), 16) {
    Ok(fingerprint) => fingerprint,
    Err(_) => panic!("the build script makes a number of 64 bits"),
};

/// Name of the object's global that carries its [`FINGERPRINT`].
pub const FINGERPRINT_SYMBOL: &str = "TCPSTATE_COMMON_FINGERPRINT";

/// Length of `task_struct.comm`, NUL included (`TASK_COMM_LEN`, `include/linux/sched.h`).
pub const COMM_LEN: usize = 16;

/// An IPv6 address in network byte order; IPv4 is stored v4-mapped (`::ffff:a.b.c.d`), the family tells which it was. A link-local
/// address (`fe80::/64`) has the number of its interface in bytes 4 to 7, in network byte order, where it is known.
pub type Address = [u8; 16];
