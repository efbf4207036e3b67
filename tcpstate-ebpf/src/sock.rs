//! `struct sock` and its neighbours: the only reads of kernel memory through typed pointers.
//!
//! The verifier checks each access against the kernel's BTF: a wrong offset does not load. A load from a pointer that turns
//! out to be null reads 0 (`BPF_PROBE_MEM`), which is why nothing here tests for null without need.

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock};
use tcpstate_common::{
    Address,
    config::MAX_CGROUP_DEPTH,
    layout::ABSENT,
    state::{AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP},
};

use crate::{Opaque, config::offset};

/// `RCV_SHUTDOWN` (`include/net/sock.h`): nothing more will be received.
const RCV_SHUTDOWN: u8 = 1;

/// Loads a kernel field at an offset from BTF.
///
/// # Safety
///
/// `base` has to be a pointer that the verifier knows the type of.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T {
    // SAFETY: the caller's promise; the verifier proves that the field is one of the structure.
    unsafe { base.byte_add(offset as usize).cast::<T>().read_volatile() }
}

/// A socket whose type the verifier knows.
#[derive(Clone, Copy)]
pub(crate) struct Sock(*const Opaque);

/// One end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// IPv4 is v4-mapped.
    pub(crate) addr: Address,
    /// Host byte order.
    pub(crate) port: u16,
}

macro_rules! fields {
    ($($(#[$attribute:meta])* $name:ident: $type:ty = $offset:ident;)+) => {
        $($(#[$attribute])* #[inline(always)] pub(crate) fn $name(self) -> $type {
            // SAFETY: `Sock` holds a typed pointer.
            unsafe { load(self.0, offset!($offset)) }
        })+
    };
}

impl Sock {
    #[inline(always)]
    pub(crate) fn new(typed: *const Opaque) -> Self {
        Self(typed)
    }

    fields! {
        family: u16 = skc_family;
        state: u8 = skc_state;
        kind: u16 = sk_type;
        uid: u32 = sk_uid;
        /// The `struct socket`.
        socket: u64 = sk_socket;
    }

    /// The typed pointer, for helpers.
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *const Opaque {
        self.0
    }

    /// Of a listener: connections that wait to be accepted, and how many may.
    #[inline(always)]
    pub(crate) fn backlog(self) -> (u32, u32) {
        // SAFETY: `Sock` holds a typed pointer.
        unsafe { (load(self.0, offset!(sk_ack_backlog)), load(self.0, offset!(sk_max_ack_backlog))) }
    }

    /// Of a listener: connection requests it has dropped (`tcp_listendrop()`, `include/net/tcp.h`).
    #[inline(always)]
    pub(crate) fn drops(self) -> u32 {
        // SAFETY: `Sock` holds a typed pointer.
        unsafe { load(self.0, offset!(sk_drops)) }
    }

    /// Whether it is still open for receiving.
    #[inline(always)]
    pub(crate) fn receives(self) -> bool {
        // SAFETY: `Sock` holds a typed pointer.
        let shutdown: u8 = unsafe { load(self.0, offset!(sk_shutdown)) };
        shutdown & RCV_SHUTDOWN == 0
    }

    /// Whether a task holds its lock (`lock_sock()`): then whatever happens to it is done by the running task, or on its behalf.
    #[inline(always)]
    pub(crate) fn is_owned(self) -> bool {
        // SAFETY: `Sock` holds a typed pointer.
        let owned: u32 = unsafe { load(self.0, offset!(sk_lock_owned)) };
        owned != 0
    }

    /// The key of the socket in the maps.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// `sk_protocol`: 16 bits since 5.6; before 6.1 its neighbours are bit-fields, so no wider load.
    #[inline(always)]
    pub(crate) fn protocol(self) -> u16 {
        // SAFETY: `Sock` holds a typed pointer.
        unsafe { load(self.0, offset!(sk_protocol)) }
    }

    /// Whether this is TCP or the parent of Multipath TCP subflows.
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        matches!(self.protocol(), IPPROTO_TCP | IPPROTO_MPTCP)
    }

    /// `SO_COOKIE`, made now if nobody has asked before.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the helper takes any typed `struct sock`.
        unsafe { bpf_get_socket_cookie(self.0.cast_mut()) }
    }

    /// Local end. The port is 0 while unbound, and again after the final CLOSE.
    #[inline(always)]
    pub(crate) fn local(self, family: u16) -> End {
        // SAFETY: `Sock` holds a typed pointer.
        let port = unsafe { load(self.0, offset!(skc_num)) };
        End { addr: self.addr(family, offset!(skc_rcv_saddr), offset!(skc_v6_rcv_saddr)), port }
    }

    /// Remote end. The port is 0 where there is no peer.
    #[inline(always)]
    pub(crate) fn remote(self, family: u16) -> End {
        // SAFETY: `Sock` holds a typed pointer.
        let port: u16 = unsafe { load(self.0, offset!(skc_dport)) };
        End { addr: self.addr(family, offset!(skc_daddr), offset!(skc_v6_daddr)), port: u16::from_be(port) }
    }

    /// In an IPv6 socket the IPv4 fields hold garbage, so the family decides.
    #[inline(always)]
    fn addr(self, family: u16, v4: u32, v6: u32) -> Address {
        let mut addr = [0u8; 16];
        let words = addr.as_mut_ptr().cast::<u64>();
        // SAFETY: `Sock` holds a typed pointer; `words` are the two halves of `addr`.
        unsafe {
            if family == AF_INET6 {
                words.write_unaligned(load(self.0, v6));
                words.add(1).write_unaligned(load(self.0, v6 + 8));
            } else {
                let v4: u32 = load(self.0, v4);
                words.add(1).write_unaligned((u64::from(v4) << 32) | 0xffff_0000);
            }
        }
        addr
    }

    /// `inet_sport`, host byte order: the bound port, also after `skc_num` was cleared. 0 for an MPTCP parent.
    #[inline(always)]
    pub(crate) fn bound_port(self) -> u16 {
        // SAFETY: the helper takes any typed `struct sock` and returns null for one that is no TCP socket.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut()) };
        if tcp.is_null() {
            return 0;
        }
        // SAFETY: the helper's result is a typed `struct tcp_sock`, whose first member is the `struct inet_sock`.
        u16::from_be(unsafe { load(tcp.cast(), offset!(inet_sport)) })
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        // SAFETY: typed pointers, each loaded from a typed one.
        unsafe { load(load(self.0, offset!(skc_net)), offset!(net_inum)) }
    }

    /// The socket's cgroup v2; null when the kernel does not keep it.
    #[inline(always)]
    fn cgroup(self) -> *const Opaque {
        if offset!(sk_cgroup) == ABSENT {
            return core::ptr::null();
        }
        // SAFETY: `Sock` holds a typed pointer.
        unsafe { load(self.0, offset!(sk_cgroup)) }
    }

    /// Id of the socket's cgroup v2 (`cgroup_sk_alloc()`: that of the process at `socket()`); 0 when not kept.
    #[inline(always)]
    pub(crate) fn cgroup_id(self) -> u64 {
        let cgroup = self.cgroup();
        if cgroup.is_null() { 0 } else { cgroup_id(cgroup) }
    }

    /// Whether the socket's cgroup is `id` or below it.
    #[inline(always)]
    pub(crate) fn in_cgroup(self, id: u64) -> bool {
        let mut cgroup = self.cgroup();
        for _ in 0..MAX_CGROUP_DEPTH {
            if cgroup.is_null() {
                return false;
            }
            if cgroup_id(cgroup) == id {
                return true;
            }
            // SAFETY: typed pointers, each loaded from a typed one; the root's parent is null.
            unsafe {
                let parent: *const Opaque = load(cgroup, offset!(cgroup_parent));
                if parent.is_null() {
                    return false;
                }
                cgroup = load(parent, offset!(css_cgroup));
            }
        }
        false
    }
}

#[inline(always)]
fn cgroup_id(cgroup: *const Opaque) -> u64 {
    // SAFETY: typed pointers, each loaded from a typed one.
    unsafe { load(load(cgroup, offset!(cgroup_kn)), offset!(kernfs_id)) }
}
