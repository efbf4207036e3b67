//! Records in the ring buffer.

use core::mem::{offset_of, size_of};

use crate::{Address, COMM_LEN};

/// [`TransitionRecord::kind`] of a [`TransitionRecord`].
pub const KIND_TRANSITION: u32 = 1;

/// How the owner of a socket is known ([`TransitionRecord::owner_source`]).
pub mod owner_source {
    /// Not known: nothing that runs in the owner's own context was seen.
    pub const UNKNOWN: u8 = 0;
    /// The task that called `connect()` (`CLOSE` → `SYN_SENT` runs in its context).
    pub const CONNECT: u8 = 1;
    /// The task to which `accept()` returned the socket.
    pub const ACCEPT: u8 = 2;
    /// The task that called `listen()`: of a LISTEN socket, and of a connection that nobody has accepted yet.
    pub const LISTEN: u8 = 3;
    /// A task that holds a descriptor of the socket, found by the snapshot at start or, with filters by process, later; of a LISTEN socket
    /// also the one that was found when its owner had exited.
    pub const SNAPSHOT: u8 = 4;
}

/// A task, such as the one that opened a socket. Ids are those of the initial pid namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct TaskRecord {
    /// Thread-group id: what user space calls the pid. 0 when unknown.
    pub tgid: u32,
    /// Thread id. 0 when unknown.
    pub tid: u32,
    /// Name of the thread at that moment, NUL-terminated.
    pub comm: [u8; COMM_LEN],
    /// When its process began (`group_leader->start_boottime`): `CLOCK_BOOTTIME`, nanoseconds; 0 when unknown. With `tgid` it is the
    /// identity of the process, whose number is another's once it has ended.
    pub start_ns: u64,
}

impl TaskRecord {
    /// Nobody: nothing that ran in the task's own context was seen.
    pub const UNKNOWN: Self = Self { tgid: 0, tid: 0, comm: [0; COMM_LEN], start_ns: 0 };
}

/// [`TransitionRecord::flags`]: `in_old_ns` is a lower bound; the tracer came after the socket had entered the old state.
pub const FLAG_AT_LEAST: u8 = 1 << 0;
/// [`TransitionRecord::flags`]: nothing is known of the time in the old state; `in_old_ns` is 0.
pub const FLAG_NO_DWELL: u8 = 1 << 1;

/// One TCP state transition: what `inet_sock_set_state` saw and what was known of the socket at that moment.
///
/// Fields are read from `struct sock` in the tracepoint, so they are the socket's at the moment of the transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct TransitionRecord {
    /// [`KIND_TRANSITION`].
    pub kind: u32,
    /// State before (`oldstate`).
    pub old_state: u8,
    /// State after (`newstate`).
    pub new_state: u8,
    /// One of [`owner_source`].
    pub owner_source: u8,
    /// `FLAG_*`.
    pub flags: u8,
    /// `bpf_ktime_get_ns()`: `CLOCK_MONOTONIC`, nanoseconds.
    pub ts_ns: u64,
    /// Nanoseconds spent in `old_state`; see `flags`.
    pub in_old_ns: u64,
    /// Id of the socket's story: unique in a trace; 0 when no story is kept.
    pub id: u64,
    /// `SO_COOKIE`; 0 while the socket has none of its own.
    pub cookie: u64,
    /// Address of the `struct sock`; reused by the kernel, so an identity only together with the cookie.
    pub skaddr: u64,
    /// Id of the socket's cgroup v2 (`sk_cgrp_data`); 0 when the kernel does not keep it.
    pub cgroup_id: u64,
    /// Who opened the socket.
    pub owner: TaskRecord,
    /// `net->ns.inum`: inode number of the network namespace.
    pub netns: u32,
    /// `sk_uid`, as seen from the initial user namespace.
    pub uid: u32,
    /// Local address.
    pub local_addr: Address,
    /// Remote address.
    pub remote_addr: Address,
    /// Local port, host byte order; 0 when unbound.
    pub local_port: u16,
    /// Remote port, host byte order; 0 when there is no peer.
    pub remote_port: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// `IPPROTO_TCP` or `IPPROTO_MPTCP`.
    pub protocol: u16,
}

const _: () = assert!(size_of::<TaskRecord>() == 32);
const _: () = assert!(size_of::<TransitionRecord>() == 136);
const _: () = assert!(offset_of!(TransitionRecord, ts_ns) == 8);
const _: () = assert!(offset_of!(TransitionRecord, owner) == 56);
const _: () = assert!(offset_of!(TransitionRecord, local_addr) == 96);
const _: () = assert!(offset_of!(TransitionRecord, protocol) == 134);
