//! How leaking sockets stand now: iterators over descriptors, and over the sockets that have none.

use tcpstate_common::{
    config::filter as set,
    leak::{FOUND_EOF_READ, FOUND_SINCE, FOUND_UNACCEPTED},
};

use crate::{
    clock::now_ns,
    filters::{
        followed, owner,
        socket::{self, Unset},
    },
    kernel::{
        file::with_socket,
        iter::{self, Reader, TaskFileContext, TcpContext},
        read::Read,
        sock::{Identity, Sock},
        state::{CLOSE_WAIT, FIN_WAIT2, LISTEN},
    },
    records::found::{self, Holder},
    rodata::filtering,
    stories::{
        progress::{Known, Seen},
        story::{EOF_READ, SINCE_BEFORE, Story, TRACKED},
    },
};

/// A descriptor of a task.
#[inline(always)]
pub(crate) fn on_file(ctx: *const TaskFileContext) {
    // SAFETY: the iterator's context.
    unsafe {
        let Some(descriptor) = iter::descriptor(ctx) else { return };
        let holder = Holder { tgid: descriptor.task.tgid(), fd: descriptor.fd };
        with_socket!(descriptor.file, |sk| tell(descriptor.reader, sk, holder));
    }
}

/// A socket in the hash tables of a network namespace.
#[inline(always)]
pub(crate) fn on_tcp(ctx: *const TcpContext) {
    // SAFETY: the iterator's context.
    unsafe {
        if let Some((sk, reader)) = iter::full_socket(ctx) {
            tell(reader, sk, Holder::NONE);
        }
    }
}

/// Tells of a socket that is in CLOSE_WAIT, or has been and is still there, or a listener with a backlog, or one that has only
/// closed its side and waits for the other, which may be a socket in CLOSE_WAIT of this host.
#[inline(always)]
fn tell<R: Read>(reader: Reader, sk: Sock<R>, holder: Holder) {
    let state = sk.state();
    let story = Story::of(sk.address());
    // SAFETY: a value in the map.
    let tracked = story.is_some_and(|story| unsafe { (*story).marks & TRACKED != 0 });
    let waiting = state == LISTEN && sk.backlog() != 0 && holder.tgid == 0;
    let half_closed = state == FIN_WAIT2 && holder.tgid != 0 && sk.receives();
    if !(state == CLOSE_WAIT || tracked || waiting || half_closed) {
        return;
    }
    let mut seen = Seen { sk, old: state, new: state, now: now_ns(), socket: Identity::of(sk) };
    let mut known = Known::NOTHING;
    let (mut since_ns, mut flags) = (0, 0);
    if let Some(story) = story {
        // SAFETY: a value in the map.
        unsafe {
            Story::known_owner(story, &mut known.owner);
            known.id = (*story).id;
            if seen.socket.local.port == 0 {
                seen.socket.local.port = (*story).local_port;
            }
            if (*story).state == state && (*story).flags & SINCE_BEFORE == 0 {
                since_ns = (*story).since_ns;
                flags |= FOUND_SINCE;
            }
            if (*story).marks & EOF_READ != 0 {
                flags |= FOUND_EOF_READ;
            }
            if state == CLOSE_WAIT {
                // From now on its end is of interest, too.
                (*story).marks |= TRACKED;
            }
        }
    }
    // Filters are about the socket in CLOSE_WAIT, whoever its peer is.
    if !half_closed
        && (filtering(set::PID | set::COMM) && !owner::wants(&known.owner.owner) && !held_by_wanted(holder.tgid)
            || !socket::wants(sk, &seen.socket, Unset::Fails))
    {
        return;
    }
    if sk.socket() == 0 {
        flags |= FOUND_UNACCEPTED;
    }
    known.cookie = sk.cookie();
    found::send(reader, &seen, &known, since_ns, flags, holder);
}

/// With `--pid` also sockets are wanted that others opened and this process holds.
#[inline(always)]
fn held_by_wanted(tgid: u32) -> bool {
    tgid != 0 && filtering(set::PID) && followed::contains(tgid)
}
