//! `struct sock`, and the structures that it is the beginning of.

use core::marker::PhantomData;

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock};
use tcpstate_common::{
    Address, helper,
    layout::ABSENT,
    state::{AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP},
};

use crate::{
    kernel::{
        cgroup::Cgroup,
        read::{Opaque, Probed, Read, Typed, fields},
    },
    rodata::{has, offset},
};

/// `RCV_SHUTDOWN` (`include/net/sock.h`): nothing more will be received.
const RCV_SHUTDOWN: u8 = 1;
/// `SOCK_STREAM` (`include/linux/net.h`).
const SOCK_STREAM: u16 = 1;

/// The first half of a link-local IPv6 address, `fe80::/64`.
const LINK_LOCAL: u64 = 0xfe80_0000_0000_0000_u64.to_be();

/// A socket.
#[derive(Clone, Copy)]
pub(crate) struct Sock<R = Typed>(*const Opaque, PhantomData<R>);

/// One end of a connection. Aligned, or it would be copied in pieces of two bytes.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(crate) struct End {
    /// As [`Address`] says.
    pub(crate) addr: Address,
    /// Host byte order.
    pub(crate) port: u16,
}

/// What a socket is, apart from what happens to it: what filters ask for and records tell.
///
/// Read once: for every pointer that is followed on some way through a program the verifier searches all of the kernel's types
/// (`btf_nested_type_is_trusted()`, from 6.4 on), a millisecond each time.
pub(crate) struct Identity {
    pub(crate) family: u16,
    pub(crate) netns: u32,
    pub(crate) cgroup_id: u64,
    pub(crate) local: End,
    pub(crate) remote: End,
}

impl Identity {
    #[inline(always)]
    pub(crate) fn of<R: Read>(sk: Sock<R>) -> Self {
        let family = sk.family();
        Self {
            family,
            netns: sk.netns(),
            cgroup_id: sk.cgroup().id_or_zero(),
            local: sk.local(family),
            remote: sk.remote(family),
        }
    }
}

impl Sock {
    /// A socket whose type the verifier knows.
    #[inline(always)]
    pub(crate) fn new(typed: *const Opaque) -> Self {
        Self(typed, PhantomData)
    }
}

impl Sock<Probed> {
    /// A socket of which only the address is known.
    #[inline(always)]
    pub(crate) fn at(address: *const Opaque) -> Self {
        Self(address, PhantomData)
    }
}

impl<R: Read> Sock<R> {
    fields! {
        family: u16 = skc_family;
        state: u8 = skc_state;
        uid: u32 = sk_uid;
        /// The `struct socket`.
        socket: u64 = sk_socket;
        /// 16 bits since 5.6; before 6.1 its neighbours are bit-fields, so no wider load.
        protocol: u16 = sk_protocol;
        /// Of a listener: connection requests it has dropped (`tcp_listendrop()`, `include/net/tcp.h`).
        drops: u32 = sk_drops;
        /// Of a listener: connections that wait to be accepted.
        backlog: u32 = sk_ack_backlog;
        /// Of a listener: how many connections may wait.
        backlog_limit: u32 = sk_max_ack_backlog;
    }

    /// The key of the socket in the maps.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// Whether this is TCP or the parent of Multipath TCP subflows.
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        matches!(self.protocol(), IPPROTO_TCP | IPPROTO_MPTCP)
    }

    /// The same where sockets of any family come along.
    #[inline(always)]
    pub(crate) fn is_of_tcp(self) -> bool {
        matches!(self.family(), AF_INET | AF_INET6) && self.is_tcp()
    }

    /// The same where raw sockets come along, too, which may carry the number of any protocol.
    #[inline(always)]
    pub(crate) fn is_stream_of_tcp(self) -> bool {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        self.is_of_tcp() && unsafe { R::load::<u16>(self.0, offset!(sk_type)) } == SOCK_STREAM
    }

    /// The `struct tcp_sock`, in whose first member the socket lies; null for one of another protocol.
    #[inline(always)]
    pub(crate) fn tcp(self) -> *const Opaque {
        if R::TYPED {
            // SAFETY: the helper takes any typed `struct sock`.
            unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut()) as *const Opaque }
        } else if self.protocol() == IPPROTO_TCP {
            self.0
        } else {
            core::ptr::null()
        }
    }

    /// The `struct mptcp_sock`, in whose first member the socket lies; null for one of another protocol. No program is handed a typed
    /// one before 5.19: it is read by the helper that takes any address.
    #[inline(always)]
    pub(crate) fn mptcp(self) -> *const Opaque {
        if self.protocol() == IPPROTO_MPTCP { self.0 } else { core::ptr::null() }
    }

    /// Whether it is still open for receiving.
    #[inline(always)]
    pub(crate) fn receives(self) -> bool {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        let shutdown: u8 = unsafe { R::load(self.0, offset!(sk_shutdown)) };
        shutdown & RCV_SHUTDOWN == 0
    }

    /// Whether a task holds its lock (`lock_sock()`): then whatever happens to it is done by the running task, or on its behalf.
    #[inline(always)]
    pub(crate) fn is_owned(self) -> bool {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        let owned: u32 = unsafe { R::load(self.0, offset!(sk_lock_owned)) };
        owned != 0
    }

    /// `SO_COOKIE`, made now if nobody has asked before; 0 where only others can make it and none has.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // What `sock_gen_cookie()` does first, without the call of the helper.
        let made = self.cookie_so_far();
        if made == 0 && R::TYPED && has(helper::SOCKET_COOKIE) {
            // SAFETY: the helper takes any typed `struct sock`.
            return unsafe { bpf_get_socket_cookie(self.0.cast_mut()) };
        }
        made
    }

    /// `SO_COOKIE`; 0 while nobody has asked for it.
    #[inline(always)]
    pub(crate) fn cookie_so_far(self) -> u64 {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        unsafe { R::load(self.0, offset!(skc_cookie)) }
    }

    /// Local end. The port is 0 while unbound, and again after the final CLOSE.
    #[inline(always)]
    pub(crate) fn local(self, family: u16) -> End {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        let port = unsafe { R::load(self.0, offset!(skc_num)) };
        End { addr: self.addr(family, offset!(skc_rcv_saddr), offset!(skc_v6_rcv_saddr)), port }
    }

    /// Remote end. The port is 0 where there is no peer.
    #[inline(always)]
    fn remote(self, family: u16) -> End {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        let port: u16 = unsafe { R::load(self.0, offset!(skc_dport)) };
        End { addr: self.addr(family, offset!(skc_daddr), offset!(skc_v6_daddr)), port: u16::from_be(port) }
    }

    /// In an IPv6 socket the IPv4 fields hold garbage, so the family decides.
    #[inline(always)]
    fn addr(self, family: u16, v4: u32, v6: u32) -> Address {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        let words: [u64; 2] = unsafe {
            if family == AF_INET6 {
                let mut first: u64 = R::load(self.0, v6);
                if first == LINK_LOCAL {
                    // The same address may be there on each link. Bytes 4 to 7 are zeros in such an address.
                    let interface: u32 = R::load(self.0, offset!(skc_bound_dev_if));
                    first |= u64::from(interface.to_be()) << 32;
                }
                [first, R::load(self.0, v6 + 8)]
            } else {
                let v4: u32 = R::load(self.0, v4);
                [0, (u64::from(v4) << 32) | 0xffff_0000]
            }
        };
        // SAFETY: the same bytes.
        unsafe { core::mem::transmute(words) }
    }

    /// `inet_sport`, host byte order: the bound port, also after `skc_num` was cleared. 0 for an MPTCP parent.
    #[inline(always)]
    pub(crate) fn bound_port(self) -> u16 {
        let tcp = self.tcp();
        if tcp.is_null() {
            return 0;
        }
        // SAFETY: a `struct tcp_sock`, whose first member is the `struct inet_sock`.
        u16::from_be(unsafe { R::load(tcp, offset!(inet_sport)) })
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        // SAFETY: pointers that `R` can read, each loaded from one.
        unsafe { R::load(R::load(self.0, offset!(skc_net)), offset!(net_inum)) }
    }

    /// The socket's cgroup (`cgroup_sk_alloc()`: that of the process at `socket()`); none where the kernel does not keep it.
    #[inline(always)]
    fn cgroup(self) -> Cgroup<R> {
        let offset = offset!(sk_cgroup);
        // SAFETY: `Sock` holds a pointer that `R` can read, and so is what is loaded from it.
        unsafe { Cgroup::new(if offset == ABSENT { core::ptr::null() } else { R::load(self.0, offset) }) }
    }

    /// Whether the socket's cgroup is the one with this id, or below that.
    #[inline(always)]
    pub(crate) fn is_in_cgroup(self, id: u64) -> bool {
        self.cgroup().is_within(id)
    }
}
