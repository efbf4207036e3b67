//! Sockets that nothing but the exit of a process closes.
//!
//! `do_exit()` (kernel/exit.c, Linux 6.18) drops the process's files after `PF_EXITING` is set and runs what that defers
//! (`exit_task_work()`) still as the same task, so `__tcp_close()` (net/ipv4/tcp.c) runs in its context.

use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use tcpstate_common::{
    leak::{Exited, FOUND_EOF_READ, FOUND_SINCE, KIND_EXITED},
    state::TcpState,
};

use crate::{
    Opaque,
    clock::now_ns,
    config::offset,
    found::fill_load,
    leak::mark,
    maps::SOCKETS,
    owner,
    sock::{Sock, load},
    stack::PF_EXITING,
    story::{EOF_READ, EXITED, KnownOwner, Story},
    transition::{Known, Seen, fill_socket, submit},
};

const CLOSE: u8 = TcpState::Close as u8;

/// Whether the running task closes the socket by exiting. In softirq on top of a task that exits nobody holds the socket's lock.
#[inline(always)]
pub(crate) fn closes(sk: Sock) -> bool {
    // SAFETY: the helper has no precondition, and returns a typed task.
    let flags: u32 = unsafe { load(bpf_get_current_task_btf() as *const Opaque, offset!(task_flags)) };
    flags & PF_EXITING != 0 && sk.is_owned()
}

/// It leaves CLOSE_WAIT.
#[inline(never)]
pub(crate) fn on_transition(seen: &Seen, known: &Known) {
    let key = seen.sk.address();
    mark(key, EXITED);
    let (mut since_ns, mut flags) = (0, 0);
    if known.flags == 0 {
        since_ns = seen.now.saturating_sub(known.in_old_ns);
        flags |= FOUND_SINCE;
    }
    if let Some(story) = SOCKETS.get_ptr(key) {
        // SAFETY: a value in the map.
        flags |= if unsafe { (*story).marks } & EOF_READ != 0 { FOUND_EOF_READ } else { 0 };
    }
    submit(|exited: *mut Exited| {
        // SAFETY: an entry of the ring buffer.
        unsafe {
            let record = &raw mut (*exited).found.socket;
            (*record).old_state = seen.old;
            (*record).new_state = seen.new;
            (*record).flags = flags;
            (*record).ts_ns = seen.now;
            (*record).in_old_ns = since_ns;
            (*record).cookie = known.cookie;
            fill_socket(record, seen.sk, seen.family, &seen.local, &seen.remote);
            fill(exited, seen.sk, &known.owner);
        }
    });
}

/// Its last descriptor goes, after it has left CLOSE_WAIT otherwise.
///
/// # Safety
///
/// `story` has to be a value in the map.
#[inline(always)]
pub(crate) unsafe fn on_destroy(sk: Sock, story: *const Story) {
    let family = sk.family();
    let (mut local, remote) = (sk.local(family), sk.remote(family));
    submit(|exited: *mut Exited| {
        // SAFETY: an entry of the ring buffer; the story is the caller's promise.
        unsafe {
            if local.port == 0 {
                local.port = (*story).local_port;
            }
            let record = &raw mut (*exited).found.socket;
            (*record).old_state = (*story).state;
            (*record).new_state = CLOSE;
            (*record).flags = if (*story).marks & EOF_READ != 0 { FOUND_EOF_READ } else { 0 };
            (*record).ts_ns = now_ns();
            (*record).in_old_ns = 0;
            (*record).cookie = (*story).cookie;
            fill_socket(record, sk, family, &local, &remote);
            fill(exited, sk, &Story::known_owner(story));
        }
    });
}

/// Writes what does not depend on how the socket ends.
///
/// # Safety
///
/// `exited` has to be writable.
#[inline(always)]
unsafe fn fill(exited: *mut Exited, sk: Sock, owner: &KnownOwner) {
    // SAFETY: the caller's promise.
    unsafe {
        let found = &raw mut (*exited).found;
        (*found).socket.kind = KIND_EXITED;
        (*found).socket.owner_source = owner.source;
        (*found).socket.owner = owner.owner;
        (*found).place = owner.place;
        (*found).holder_fd = 0;
        fill_load(found, sk, CLOSE);
        (*exited).by = owner::current();
        (*found).holder_tgid = (*exited).by.tgid;
    }
}
