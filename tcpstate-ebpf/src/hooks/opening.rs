//! Sockets older than the tracer: iterators write their stories, in the kernel, where an event's newer one wins.

use aya_ebpf::{
    bindings::{file, seq_file},
    helpers::generated::{bpf_seq_write, bpf_skc_to_tcp_sock, bpf_sock_from_file},
};
use tcpstate_common::{
    config::filter as set,
    event::owner_source,
    state::{AF_INET, AF_INET6, TcpState},
};

use crate::{
    Opaque,
    clock::now_ns,
    filters::socket::{self as filter, Unset},
    hooks::transition::What,
    kernel::sock::{Probed, Read, Sock, load},
    maps::SOCKETS,
    owner,
    rodata::{filtering, offset},
    stories::listener,
    stories::story::{KnownOwner, SINCE_BEFORE, Story},
};

const SOCK_STREAM: u16 = 1;
const LISTEN: u8 = TcpState::Listen as u8;
const ESTABLISHED: u8 = TcpState::Established as u8;
const CLOSE: u8 = TcpState::Close as u8;
const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;

/// `struct bpf_iter_meta`.
#[repr(C)]
pub(crate) struct Meta {
    seq: *mut seq_file,
}

/// `struct bpf_iter__task_file`.
#[repr(C)]
pub(crate) struct TaskFileContext {
    meta: *const Meta,
    task: *const Opaque,
    fd: u32,
    file: *mut file,
}

/// `struct bpf_iter__tcp`.
#[repr(C)]
pub(crate) struct TcpContext {
    meta: *const Meta,
    sk_common: *const Opaque,
}

impl Meta {
    /// Where the iterator's reader reads.
    #[inline(always)]
    pub(crate) fn seq(&self) -> *mut seq_file {
        self.seq
    }
}

impl TaskFileContext {
    #[inline(always)]
    pub(crate) fn meta(&self) -> *const Meta {
        self.meta
    }

    #[inline(always)]
    pub(crate) fn fd(&self) -> u32 {
        self.fd
    }

    #[inline(always)]
    pub(crate) fn file(&self) -> *mut file {
        self.file
    }
}

impl TcpContext {
    #[inline(always)]
    pub(crate) fn meta(&self) -> *const Meta {
        self.meta
    }
}

/// A descriptor of a task, as an iterator hands it over.
pub(crate) struct Descriptor {
    pub(crate) task: *const Opaque,
    file: *mut file,
}

/// The descriptor that the iterator is at; `None` at its end.
///
/// # Safety
///
/// `ctx` has to be the context of an `iter/task_file` program.
#[inline(always)]
pub(crate) unsafe fn descriptor(ctx: *const TaskFileContext) -> Option<Descriptor> {
    // SAFETY: the caller's promise; null task or file mark the end.
    unsafe {
        let (task, file) = ((*ctx).task, (*ctx).file);
        (!task.is_null() && !file.is_null()).then_some(Descriptor { task, file })
    }
}

impl Descriptor {
    /// The TCP socket behind it. The iterator holds a reference to the file, so the socket lives while the program runs.
    #[inline(always)]
    pub(crate) fn socket(&self) -> Option<Sock> {
        // SAFETY: a typed file; the helper's result is a typed `struct socket`.
        let sk: *const Opaque = unsafe {
            let socket = bpf_sock_from_file(self.file);
            if socket.is_null() {
                return None;
            }
            load(socket.cast(), offset!(socket_sk))
        };
        tcp_stream(Sock::new(sk))
    }

    /// The same where the kernel offers no way from a file to a typed socket (`sock_from_file()`, `net/socket.c`).
    #[inline(always)]
    pub(crate) fn socket_by_address(&self) -> Option<Sock<Probed>> {
        const S_IFMT: u16 = 0o170_000;
        const S_IFSOCK: u16 = 0o140_000;
        // SAFETY: a typed file and its typed inode. A socket opened by its path (`O_PATH`) has no private data.
        let sk = unsafe {
            let file: *const Opaque = self.file.cast();
            if load::<u16>(load(file, offset!(file_inode)), offset!(inode_mode)) & S_IFMT != S_IFSOCK {
                return None;
            }
            let socket: *const Opaque = load(file, offset!(file_private_data));
            if Probed::load::<*const Opaque>(socket, offset!(socket_file)) != file {
                return None;
            }
            Probed::load(socket, offset!(socket_sk))
        };
        tcp_stream(Sock::at(sk))
    }
}

#[inline(always)]
fn tcp_stream<R: Read>(sk: Sock<R>) -> Option<Sock<R>> {
    let known = sk.address() != 0 && matches!(sk.family(), AF_INET | AF_INET6);
    (known && sk.is_tcp() && sk.kind() == SOCK_STREAM).then_some(sk)
}

/// Runs `$work` on the TCP socket behind a descriptor, read in the way that this kernel has.
macro_rules! with_socket {
    ($descriptor:expr, |$sk:ident| $work:expr) => {
        if $crate::rodata::has(tcpstate_common::helper::SOCKET_FROM_FILE) {
            if let Some($sk) = $descriptor.socket() {
                $work
            }
        } else if $crate::rodata::has(tcpstate_common::helper::READ_KERNEL) {
            if let Some($sk) = $descriptor.socket_by_address() {
                $work
            }
        }
    };
}
pub(crate) use with_socket;

/// A full TCP socket in the hash tables of a network namespace: neither TIME_WAIT nor a connection request.
///
/// # Safety
///
/// `ctx` has to be the context of an `iter/tcp` program.
#[inline(always)]
pub(crate) unsafe fn full_socket(ctx: *const TcpContext) -> Option<Sock> {
    // SAFETY: the caller's promise; null marks the end.
    unsafe {
        let common = (*ctx).sk_common;
        if common.is_null() {
            return None;
        }
        let tcp = bpf_skc_to_tcp_sock(common.cast_mut().cast());
        (!tcp.is_null()).then(|| Sock::new(tcp.cast()))
    }
}

/// A descriptor of a task: its socket's owner is whoever holds it.
#[inline(always)]
pub(crate) fn on_file(ctx: *const TaskFileContext) {
    // SAFETY: the iterator's context.
    unsafe {
        let Some(descriptor) = descriptor(ctx) else { return };
        let known = KnownOwner { owner: owner::of_task(descriptor.task), source: owner_source::SNAPSHOT, place: 0 };
        with_socket!(descriptor, |sk| {
            if found(sk, &known) {
                report((*ctx).meta, sk.address());
            }
        });
    }
}

/// A socket in the hash tables: of those without a descriptor nobody has told yet.
#[inline(always)]
pub(crate) fn on_tcp(ctx: *const TcpContext) {
    // SAFETY: the iterator's context.
    unsafe {
        let Some(sk) = full_socket(ctx) else { return };
        if SOCKETS.get_ptr(sk.address()).is_some() {
            return;
        }
        // Without a `struct socket` a connection in these states waits in its listener's backlog; in later states it is an
        // orphan whose owner has closed it and may be gone.
        let waiting = matches!(sk.state(), ESTABLISHED | CLOSE_WAIT) && sk.socket() == 0;
        let mut known = KnownOwner::UNKNOWN;
        if waiting {
            listener::of_child(sk, sk.netns(), &mut known);
        }
        if found(sk, &known) {
            report((*ctx).meta, sk.address());
        }
    }
}

/// Keeps the story of a socket that the snapshot found. Returns whether it is new.
#[inline(always)]
fn found<R: Read>(sk: Sock<R>, known: &KnownOwner) -> bool {
    let state = sk.state();
    if state == CLOSE {
        // Never connected, or a corpse: its next life starts with an event.
        return false;
    }
    let wanted = owner::wanted(&known.owner);
    if state == LISTEN && wanted {
        listener::want(sk);
    }
    let key = sk.address();
    if let Some(story) = SOCKETS.get_ptr_mut(key) {
        // An event came first, and knew less.
        // SAFETY: a value in the map.
        unsafe {
            if (*story).source == owner_source::UNKNOWN {
                Story::set_owner(story, known);
            }
        }
        return false;
    }
    let socket = What::of(sk);
    // Whoever accepts from a listener need not be its owner, so every listener is kept; a story for each also tells its first
    // descriptor from the copies that were inherited.
    let keep =
        state == LISTEN || (!filtering(set::PID | set::COMM) || wanted) && filter::socket(sk, &socket, Unset::Passes);
    if !keep {
        return false;
    }
    let now = now_ns();
    let mut story = Story::new(known, sk.cookie(), now, state, socket.local.port);
    story.flags = SINCE_BEFORE;
    let first = story.begin_if_absent(key);
    if first && state == LISTEN {
        listener::add(sk, socket.netns, known);
    }
    first
}

/// Tells user space of a story that began, so that it can say how many there are.
#[inline(always)]
unsafe fn report(meta: *const Meta, key: u64) {
    // SAFETY: the iterator's own `seq_file`.
    unsafe { bpf_seq_write((*meta).seq, (&raw const key).cast(), size_of::<u64>() as u32) };
}
