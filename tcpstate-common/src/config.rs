//! Settings that user space freezes into `.rodata` before the programs are loaded.
//!
//! The verifier reads them as constants and removes the branches of filters that are not set.

use core::mem::size_of;

use crate::{Address, COMM_LEN};

/// How many ports a port filter can name.
pub const MAX_PORTS: usize = 16;
/// How many names a comm filter can name.
pub const MAX_COMMS: usize = 8;
/// User stacks are copied in pieces of this many bytes: a copy ends at the piece that the stack's top lies in.
pub const STACK_PIECE: u32 = 1024;
/// Most bytes of user stack that can be copied.
pub const MAX_STACK: u32 = 64 << 10;
/// How many processes can be followed at a time (`--pid`, `--children`).
pub const MAX_PIDS: u32 = 65_536;

/// Bits of [`Config::filters`]: which filters are set.
pub mod filter {
    /// The owner's thread-group id is in the map `PIDS`.
    pub const PID: u32 = 1 << 0;
    /// Children of processes in the map `PIDS` are added to it.
    pub const CHILDREN: u32 = 1 << 1;
    /// The owner's comm is one of [`super::Config::comms`].
    pub const COMM: u32 = 1 << 2;
    /// The socket's cgroup is [`super::Config::cgroup_id`] or below it.
    pub const CGROUP: u32 = 1 << 3;
    /// The network namespace is [`super::Config::netns`].
    pub const NETNS: u32 = 1 << 4;
    /// The local port is one of [`super::Config::local_ports`].
    pub const LOCAL_PORT: u32 = 1 << 5;
    /// The remote port is one of [`super::Config::remote_ports`].
    pub const REMOTE_PORT: u32 = 1 << 6;
    /// The local address is in [`super::Config::local_net`].
    pub const LOCAL_NET: u32 = 1 << 7;
    /// The remote address is in [`super::Config::remote_net`].
    pub const REMOTE_NET: u32 = 1 << 8;
    /// The family is [`super::Config::family`].
    pub const FAMILY: u32 = 1 << 9;
    /// The old or the new state is in [`super::Config::states`].
    pub const STATE: u32 = 1 << 10;
    /// No filter, but what is wanted: with [`LEAKS`], every transition besides what leak hunting needs.
    pub const TRANSITIONS: u32 = 1 << 28;
    /// No filter, but what is wanted: with [`LEAKS`] also who closes the sockets, and whether by nothing but an exit.
    pub const CLOSERS: u32 = 1 << 29;
    /// No filter, but what is wanted: kernel stacks beside those of user space.
    pub const KERNEL_STACK: u32 = 1 << 30;
    /// No filter, but what is wanted: only what leak hunting needs, with stacks.
    pub const LEAKS: u32 = 1 << 31;
}

/// Values of the map of followed processes.
pub mod pid_state {
    /// Named by the user, or a descendant when the tracer came.
    pub const GIVEN: u32 = 1;
    /// Forked by a followed process since.
    pub const CHILD: u32 = 2;
    /// A [`CHILD`] that has exited; its sockets may still be on their way out. The bits above say when.
    const EXITED: u32 = 3;
    const BITS: u32 = 2;

    /// A moment in units of 2³⁰ nanoseconds, about a second; fits beside a state.
    #[must_use]
    pub const fn time(ns: u64) -> u32 {
        (ns >> 30) as u32 & u32::MAX >> BITS
    }

    /// The value for a process that exits at this moment, nanoseconds.
    #[must_use]
    pub const fn exited(ns: u64) -> u32 {
        time(ns) << BITS | EXITED
    }

    /// When a process exited, as [`time`] counts; `None` when it has not.
    #[must_use]
    pub const fn exited_at(state: u32) -> Option<u32> {
        if state & EXITED == EXITED { Some(state >> BITS) } else { None }
    }
}

/// Indices of the counts of followed processes.
pub mod follow_count {
    /// Forked by followed ones since the start, and alive.
    pub const LIVE: u32 = 0;
    /// Forked by followed ones since the start, and still in the map.
    pub const KEPT: u32 = 1;
    /// How many counts there are.
    pub const LEN: u32 = 2;
}

/// A set of up to `N` ports; a slice of the first `len` entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Ports {
    /// How many of `ports` count.
    pub len: u32,
    /// Ports in host byte order.
    pub ports: [u16; MAX_PORTS],
}

/// An address block: `address & mask == network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Network {
    /// Network address, host bits zero; IPv4 v4-mapped.
    pub network: Address,
    /// Network mask; of a v4 block `/n` that of `/(96 + n)`.
    pub mask: Address,
}

/// Everything the programs need to know before they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Config {
    /// Bits of [`filter`].
    pub filters: u32,
    /// Mask of states ([`crate::state::TcpState::bit`]).
    pub states: u32,
    /// cgroup v2 id (inode number of its directory).
    pub cgroup_id: u64,
    /// Inode number of a network namespace.
    pub netns: u32,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// Explicit padding.
    pub pad: u16,
    /// Bytes waiting in the ring buffer at which user space is woken before its timer.
    pub wakeup_bytes: u32,
    /// How many of `comms` count.
    pub comms_len: u32,
    /// Bytes of user stack to copy: a multiple of [`STACK_PIECE`], up to [`MAX_STACK`].
    pub stack_bytes: u32,
    /// Stacks that one CPU may copy in a tenth of a second.
    pub stacks_per_window: u32,
    /// Nanoseconds in CLOSE_WAIT from which on the closer's stack is of interest.
    pub late_ns: u64,
    /// Names of owners, NUL-padded.
    pub comms: [[u8; COMM_LEN]; MAX_COMMS],
    /// Local ports.
    pub local_ports: Ports,
    /// Remote ports.
    pub remote_ports: Ports,
    /// Block of local addresses.
    pub local_net: Network,
    /// Block of remote addresses.
    pub remote_net: Network,
}

const _: () = assert!(size_of::<Config>() == 312);

impl Config {
    /// No filter.
    pub const NONE: Self = Self {
        filters: 0,
        states: 0,
        cgroup_id: 0,
        netns: 0,
        family: 0,
        pad: 0,
        wakeup_bytes: 0,
        comms_len: 0,
        stack_bytes: 0,
        stacks_per_window: 0,
        late_ns: 0,
        comms: [[0; COMM_LEN]; MAX_COMMS],
        local_ports: Ports { len: 0, ports: [0; MAX_PORTS] },
        remote_ports: Ports { len: 0, ports: [0; MAX_PORTS] },
        local_net: Network { network: [0; 16], mask: [0; 16] },
        remote_net: Network { network: [0; 16], mask: [0; 16] },
    };
}

#[cfg(feature = "loader")]
// SAFETY: bytemuck has derived the same promise.
unsafe impl aya::Pod for Config {}
