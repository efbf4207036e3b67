//! Who listens where.
//!
//! A child of a listener has no owner until `accept()` returns it, and nothing in it points back to the listener. Namespace,
//! address and port lead to it, except under `SO_REUSEPORT` across processes: then the owner is unknown, not guessed.
//!
//! Ownership ends with the process that listened. Until user space has found out who else holds the listener, nobody is known.

use core::{
    mem::size_of,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::HashMap};
use tcpstate_common::{
    Address,
    event::{TaskRecord, owner_source},
    state::AF_INET6,
};

use crate::{
    atomic,
    counters::count,
    filters::owner,
    kernel::{
        read::Read,
        sock::{Identity, Sock},
    },
    stories::{listening, owner::KnownOwner},
};

/// Who listens where: a passive connection's only owner until somebody accepts it.
#[map]
static LISTENERS: HashMap<ListenerKey, Listener> = HashMap::with_max_entries(16_384, 0);

/// Where a socket listens.
#[derive(Clone, Copy)]
#[repr(C)]
struct ListenerKey {
    addr: Address,
    netns: u32,
    port: u16,
    family: u16,
}

const _: () = assert!(size_of::<ListenerKey>() == 24);

/// Who listens there.
#[repr(C)]
struct Listener {
    owner: TaskRecord,
    /// Sockets that listen there: more than one under `SO_REUSEPORT`.
    sockets: u64,
    /// They belong to several processes.
    ambiguous: u8,
    /// A followed process holds a descriptor of it, so it may accept its connections.
    wanted: u8,
    /// One of [`owner_source`].
    source: u8,
    /// Explicit padding.
    pad: [u8; 5],
}

const _: () = assert!(size_of::<Listener>() == 48);

impl ListenerKey {
    #[inline(always)]
    fn of<R: Read>(sk: Sock<R>, netns: u32) -> Self {
        let family = sk.family();
        let local = sk.local(family);
        Self { addr: local.addr, netns, port: local.port, family }
    }

    /// The same port on any address of the family.
    #[inline(always)]
    fn on_any_address(mut self) -> Self {
        // `::`, or v4-mapped 0.0.0.0 as `Sock::local` writes it.
        let addr = if self.family == AF_INET6 { 0u128 } else { 0xffff << 32 };
        self.addr = addr.to_be_bytes();
        self
    }
}

/// A socket began to listen, or the snapshot found one that does. Its owner has to be known to [`listening`].
#[inline(never)]
pub(crate) fn add<R: Read>(sk: Sock<R>, netns: u32, known: &KnownOwner) {
    let key = ListenerKey::of(sk, netns);
    let new = Listener {
        owner: known.owner,
        sockets: 1,
        ambiguous: 0,
        wanted: u8::from(owner::wants(&known.owner)),
        source: known.source,
        pad: [0; 5],
    };
    if LISTENERS.insert(key, new, u64::from(BPF_NOEXIST)).is_ok() {
        return;
    }
    let Some(listener) = LISTENERS.get_ptr_mut(key) else {
        count!(map_full);
        return;
    };
    // SAFETY: a value in the map; its fields are independent of each other.
    unsafe {
        atomic::add(&raw mut (*listener).sockets, 1);
        if !is_same(&(*listener).owner, &known.owner) {
            (*listener).ambiguous = 1;
        }
        if owner::wants(&known.owner) {
            (*listener).wanted = 1;
        }
    }
}

/// A followed process holds a descriptor of this listener.
#[inline(always)]
pub(crate) fn want<R: Read>(sk: Sock<R>) {
    if let Some(listener) = LISTENERS.get_ptr_mut(ListenerKey::of(sk, sk.netns())) {
        // SAFETY: a value in the map.
        unsafe { (*listener).wanted = 1 }
    }
}

/// The owner of one of the sockets that listen there has exited, and this is who holds that socket.
#[inline(always)]
pub(crate) fn pass_on<R: Read>(sk: Sock<R>, known: &KnownOwner) {
    let Some(listener) = LISTENERS.get_ptr_mut(ListenerKey::of(sk, sk.netns())) else { return };
    // SAFETY: a value in the map; only one iterator runs at a time.
    unsafe {
        let mut before = KnownOwner::UNKNOWN;
        owner_of(listener, &mut before);
        if before.source == owner_source::UNKNOWN || !listening::lives(&before.owner) {
            // Unknown meanwhile, so that no reader pairs halves of two owners.
            (&raw mut (*listener).source).write_volatile(owner_source::UNKNOWN);
            compiler_fence(Ordering::SeqCst);
            (*listener).owner = known.owner;
            compiler_fence(Ordering::SeqCst);
            (&raw mut (*listener).source).write_volatile(known.source);
        } else if !is_same(&before.owner, &known.owner) {
            (*listener).ambiguous = 1;
        }
        if owner::wants(&known.owner) {
            (*listener).wanted = 1;
        }
    }
}

/// A socket stopped listening.
#[inline(never)]
pub(crate) fn remove(sk: Sock, netns: u32, port: u16) {
    let mut key = ListenerKey::of(sk, netns);
    key.port = port;
    let Some(listener) = LISTENERS.get_ptr_mut(key) else { return };
    // SAFETY: a value in the map.
    let left = unsafe {
        atomic::add(&raw mut (*listener).sockets, -1);
        (&raw const (*listener).sockets).read_volatile()
    };
    if left == 0 {
        let _ = LISTENERS.remove(key);
    }
}

/// Finds out whom a connection that nobody has accepted yet belongs to: its listener's owner; unknown when several processes
/// listen there, or none that was seen, or that one has exited. Returns whether a followed process may accept it.
#[inline(never)]
pub(crate) fn of_child<R: Read>(child: Sock<R>, netns: u32, port: u16, known: &mut KnownOwner) -> bool {
    let mut key = ListenerKey::of(child, netns);
    key.port = port;
    let Some(listener) = LISTENERS.get_ptr(key).or_else(|| LISTENERS.get_ptr(key.on_any_address())) else {
        return false;
    };
    // SAFETY: a value in the map.
    unsafe {
        if (*listener).ambiguous == 0 {
            owner_of(listener, known);
            if known.source != owner_source::UNKNOWN {
                known.source = owner_source::LISTEN;
                if !listening::lives(&known.owner) {
                    *known = KnownOwner::UNKNOWN;
                }
            }
        }
        (*listener).wanted != 0
    }
}

/// Finds out whom a listener, or a connection that nobody has accepted yet, belongs to now: its owner, as its story knows it, may have
/// exited since.
#[inline(never)]
pub(crate) fn present_owner<R: Read>(sk: Sock<R>, netns: u32, port: u16, known: &mut KnownOwner) {
    if !listening::lives_or_closes(&known.owner) {
        *known = KnownOwner::UNKNOWN;
        of_child(sk, netns, port, known);
    }
}

/// Whether a followed process may accept a connection that nobody has accepted yet.
#[inline(always)]
pub(crate) fn is_wanted<R: Read>(child: Sock<R>, socket: &Identity) -> bool {
    of_child(child, socket.netns, socket.local.port, &mut KnownOwner { ..KnownOwner::UNKNOWN })
}

/// Reads the owner while another CPU may be in [`pass_on`].
///
/// # Safety
///
/// `listener` has to be a value in the map.
#[inline(always)]
unsafe fn owner_of(listener: *const Listener, known: &mut KnownOwner) {
    // SAFETY: the caller's promise.
    unsafe {
        let before = (&raw const (*listener).source).read_volatile();
        compiler_fence(Ordering::SeqCst);
        known.owner = (*listener).owner;
        compiler_fence(Ordering::SeqCst);
        known.source = (&raw const (*listener).source).read_volatile();
        if known.source != before {
            *known = KnownOwner::UNKNOWN;
        }
    }
}

#[inline(always)]
fn is_same(process: &TaskRecord, other: &TaskRecord) -> bool {
    process.tgid == other.tgid && process.start_ns == other.start_ns
}
