//! How leaking sockets stand now: iterators over descriptors, and over the sockets that have none.

use tcpstate_common::{
    config::filter as set,
    event::owner_source,
    leak::{FOUND_EOF_READ, FOUND_SINCE, FOUND_UNACCEPTED, FOUND_WANTED},
};

use crate::{
    clock::now_ns,
    filters::{
        owner,
        socket::{self, Unset},
    },
    kernel::{
        file::with_socket,
        iter::{self, Descriptor, Reader, TaskFileContext, TcpContext},
        read::Read,
        sock::{Identity, Sock},
        state::{CLOSE_WAIT, FIN_WAIT2, LISTEN},
        task::Task,
    },
    records::found::{self, Holder},
    rodata::filtering,
    stories::{
        holding, listener,
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
        let Descriptor { task, fd, file, reader } = descriptor;
        let holder = Holder { tgid: task.tgid(), fd, start_ns: task.process_start_ns() };
        with_socket!(file, |sk| tell(reader, sk, holder, Some(task)));
    }
}

/// A socket in the hash tables of a network namespace.
#[inline(always)]
pub(crate) fn on_tcp(ctx: *const TcpContext) {
    // SAFETY: the iterator's context.
    unsafe {
        if let Some((sk, reader)) = iter::full_socket(ctx) {
            tell(reader, sk, Holder::NONE, None);
        }
    }
}

/// Tells of a socket that is in CLOSE_WAIT, or has been and is still there, or a listener with a backlog, whoever holds it, or one that has only
/// closed its side and waits for the other, which may be a socket in CLOSE_WAIT of this host.
#[inline(always)]
fn tell<R: Read>(reader: Reader, sk: Sock<R>, holder: Holder, task: Option<Task>) {
    let state = sk.state();
    if state == CLOSE_WAIT
        && filtering(set::PID | set::COMM)
        && let Some(task) = task
    {
        holding::held_by(sk, task);
    }
    let story = Story::of(sk);
    // SAFETY: a value in the map.
    let tracked = story.is_some_and(|story| unsafe { (*story).marks & TRACKED != 0 });
    // Where processes are filtered, those that are left out may accept what others hold: who listens is wanted then.
    let waiting = state == LISTEN && (sk.backlog() != 0 || filtering(set::PID | set::COMM) && holder.tgid == 0);
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
            known.held = (*story).held;
            if seen.socket.local.port == 0 {
                seen.socket.local.port = (*story).local_port;
            }
            if known.owner.source == owner_source::LISTEN || state == LISTEN {
                listener::present_owner(sk, seen.socket.netns, seen.socket.local.port, &mut known.owner);
            }
            if (*story).state == state && (*story).flags & SINCE_BEFORE == 0 {
                since_ns = (*story).since_ns;
                flags |= FOUND_SINCE;
            }
            if (*story).marks & EOF_READ != 0 {
                flags |= FOUND_EOF_READ;
            }
        }
    }
    let unaccepted = sk.socket() == 0;
    let is_wanted = !filtering(set::PID | set::COMM)
        || owner::wants(&known.owner.owner)
        || known.held != 0
        || task.is_some_and(|task| owner::wants(&task.owner()));
    if is_wanted && state == LISTEN {
        if filtering(set::PID | set::COMM) {
            // Who holds it is found before what waits in its backlog.
            listener::want(sk);
        }
        flags |= FOUND_WANTED;
    }
    // Filters are about the socket in CLOSE_WAIT, whoever its peer is, and whoever else holds the listener that it waits at.
    if !half_closed
        && (!is_wanted && state != LISTEN && !(unaccepted && listener::is_wanted(sk, &seen.socket))
            || !socket::wants(sk, &seen.socket, Unset::Fails))
    {
        return;
    }
    if unaccepted {
        flags |= FOUND_UNACCEPTED;
    }
    if state == CLOSE_WAIT
        && let Some(story) = story
    {
        // From now on its end is of interest, too.
        // SAFETY: a value in the map.
        unsafe { (*story).marks |= TRACKED };
    }
    known.cookie = sk.cookie();
    found::send(reader, &seen, &known, since_ns, flags, holder);
}
