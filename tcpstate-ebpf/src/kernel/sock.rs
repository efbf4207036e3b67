//! `struct sock` and its neighbours: the only reads of kernel memory.
//!
//! Through a typed pointer the verifier checks each access against the kernel's BTF: a wrong offset does not load. A load from a
//! pointer that turns out to be null reads 0 (`BPF_PROBE_MEM`), which is why nothing here tests for null without need. Where
//! the kernel hands out a bare address, `bpf_probe_read_kernel()` reads the same fields, and 0 from a bad address, too.

use core::{marker::PhantomData, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_skc_to_tcp_sock};
use tcpstate_common::{
    Address,
    config::MAX_CGROUP_DEPTH,
    helper,
    layout::ABSENT,
    state::{AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP},
};

use crate::{
    Opaque,
    rodata::{has, offset},
};

/// `RCV_SHUTDOWN` (`include/net/sock.h`): nothing more will be received.
const RCV_SHUTDOWN: u8 = 1;

/// How kernel memory is read.
pub(crate) trait Read: Copy {
    /// The verifier knows the type of pointers.
    const TYPED: bool;

    /// Loads a kernel field at an offset from BTF.
    ///
    /// # Safety
    ///
    /// With [`Typed`], `base` has to be a pointer that the verifier knows the type of. `T` has to be valid when all zero.
    unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T;
}

/// By loads that the verifier checks.
#[derive(Clone, Copy)]
pub(crate) struct Typed;

/// By a helper that takes any address.
#[derive(Clone, Copy)]
pub(crate) struct Probed;

impl Read for Typed {
    const TYPED: bool = true;

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T {
        // SAFETY: the caller's promise; the verifier proves that the field is one of the structure.
        unsafe { base.byte_add(offset as usize).cast::<T>().read_volatile() }
    }
}

impl Read for Probed {
    const TYPED: bool = false;

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper fills all of `value`, with zeros where it fails.
        unsafe {
            let from = base.wrapping_byte_add(offset as usize);
            bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
            value.assume_init()
        }
    }
}

/// Loads a kernel field through a typed pointer.
///
/// # Safety
///
/// `base` has to be a pointer that the verifier knows the type of.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T {
    // SAFETY: the caller's promise.
    unsafe { Typed::load(base, offset) }
}

/// A socket.
#[derive(Clone, Copy)]
pub(crate) struct Sock<R = Typed>(*const Opaque, PhantomData<R>);

/// One end of a connection. Aligned, or it would be copied in pieces of two bytes.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(crate) struct End {
    /// IPv4 is v4-mapped.
    pub(crate) addr: Address,
    /// Host byte order.
    pub(crate) port: u16,
}

macro_rules! fields {
    ($($(#[$attribute:meta])* $name:ident: $type:ty = $offset:ident;)+) => {
        $($(#[$attribute])* #[inline(always)] pub(crate) fn $name(self) -> $type {
            // SAFETY: `Sock` holds a pointer that `R` can read.
            unsafe { R::load(self.0, offset!($offset)) }
        })+
    };
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
        kind: u16 = sk_type;
        uid: u32 = sk_uid;
        /// The `struct socket`.
        socket: u64 = sk_socket;
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

    /// Of a listener: connections that wait to be accepted, and how many may.
    #[inline(always)]
    pub(crate) fn backlog(self) -> (u32, u32) {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        unsafe { (R::load(self.0, offset!(sk_ack_backlog)), R::load(self.0, offset!(sk_max_ack_backlog))) }
    }

    /// Of a listener: connection requests it has dropped (`tcp_listendrop()`, `include/net/tcp.h`).
    #[inline(always)]
    pub(crate) fn drops(self) -> u32 {
        // SAFETY: `Sock` holds a pointer that `R` can read.
        unsafe { R::load(self.0, offset!(sk_drops)) }
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
        // SAFETY: `Sock` holds a pointer that `R` can read.
        unsafe { R::load(self.0, offset!(sk_protocol)) }
    }

    /// Whether this is TCP or the parent of Multipath TCP subflows.
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        matches!(self.protocol(), IPPROTO_TCP | IPPROTO_MPTCP)
    }

    /// `SO_COOKIE`, made now if nobody has asked before; 0 where only others can make it and none has.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the helper takes any typed `struct sock`; `Sock` holds a pointer that `R` can read.
        unsafe {
            // What `sock_gen_cookie()` does first, without the call of the helper.
            let made: u64 = R::load(self.0, offset!(skc_cookie));
            if made == 0 && R::TYPED && has(helper::SOCKET_COOKIE) {
                return bpf_get_socket_cookie(self.0.cast_mut());
            }
            made
        }
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
    pub(crate) fn remote(self, family: u16) -> End {
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
                [R::load(self.0, v6), R::load(self.0, v6 + 8)]
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

    /// The socket's cgroup v2; null when the kernel does not keep it.
    #[inline(always)]
    fn cgroup(self) -> *const Opaque {
        if offset!(sk_cgroup) == ABSENT {
            return core::ptr::null();
        }
        // SAFETY: `Sock` holds a pointer that `R` can read.
        unsafe { R::load(self.0, offset!(sk_cgroup)) }
    }

    /// Id of the socket's cgroup v2 (`cgroup_sk_alloc()`: that of the process at `socket()`); 0 when not kept.
    #[inline(always)]
    pub(crate) fn cgroup_id(self) -> u64 {
        let cgroup = self.cgroup();
        if cgroup.is_null() { 0 } else { cgroup_id::<R>(cgroup) }
    }

    /// Whether the socket's cgroup is `id` or below it.
    #[inline(always)]
    pub(crate) fn in_cgroup(self, id: u64) -> bool {
        let mut cgroup = self.cgroup();
        for _ in 0..MAX_CGROUP_DEPTH {
            if cgroup.is_null() {
                return false;
            }
            if cgroup_id::<R>(cgroup) == id {
                return true;
            }
            // SAFETY: pointers that `R` can read, each loaded from one; the root's parent is null.
            unsafe {
                let parent: *const Opaque = R::load(cgroup, offset!(cgroup_parent));
                if parent.is_null() {
                    return false;
                }
                cgroup = R::load(parent, offset!(css_cgroup));
            }
        }
        false
    }
}

#[inline(always)]
fn cgroup_id<R: Read>(cgroup: *const Opaque) -> u64 {
    // SAFETY: pointers that `R` can read, each loaded from one.
    unsafe { R::load(R::load(cgroup, offset!(cgroup_kn)), offset!(kernfs_id)) }
}
