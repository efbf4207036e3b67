//! The opening snapshot: iterators write the stories of sockets older than the tracer, in the kernel, where an event's newer one wins.

use tcpstate_common::{config::filter as set, event::owner_source};

use crate::{
    clock::now_ns,
    filters::{
        owner,
        socket::{self, Unset},
    },
    kernel::{
        file::with_socket,
        iter::{self, Reader, TaskFileContext, TcpContext},
        read::Read,
        sock::{Identity, Sock},
        state::{CLOSE, CLOSE_WAIT, ESTABLISHED, LISTEN},
    },
    rodata::filtering,
    stories::{
        listener, listening,
        owner::KnownOwner,
        story::{SINCE_BEFORE, Story},
    },
};

/// A descriptor of a task: its socket's owner is whoever holds it.
#[inline(always)]
pub(crate) fn on_file(ctx: *const TaskFileContext) {
    // SAFETY: the iterator's context.
    unsafe {
        let Some(descriptor) = iter::descriptor(ctx) else { return };
        let known = KnownOwner { owner: descriptor.task.owner(), source: owner_source::SNAPSHOT, place: 0 };
        with_socket!(descriptor.file, |sk| {
            if sk.state() == LISTEN && !listening::begins_unless_exiting(&known.owner, descriptor.task) {
                return;
            }
            tell(descriptor.reader, sk, &known);
        });
    }
}

/// A socket in the hash tables: of those without a descriptor nobody has told yet.
#[inline(always)]
pub(crate) fn on_tcp(ctx: *const TcpContext) {
    // SAFETY: the iterator's context.
    unsafe {
        let Some((sk, reader)) = iter::full_socket(ctx) else { return };
        if Story::of(sk).is_some() {
            return;
        }
        // Without a `struct socket` a connection in these states waits in its listener's backlog; in later states it is an
        // orphan whose owner has closed it and may be gone.
        let waiting = matches!(sk.state(), ESTABLISHED | CLOSE_WAIT) && sk.socket() == 0;
        let mut known = KnownOwner::UNKNOWN;
        if waiting {
            listener::of_child(sk, sk.netns(), sk.local(sk.family()).port, &mut known);
        }
        tell(reader, sk, &known);
    }
}

/// Keeps the story of a socket, and tells user space of one that is new, so that it can say how many there are.
#[inline(always)]
fn tell<R: Read>(reader: Reader, sk: Sock<R>, known: &KnownOwner) {
    if keep(sk, known) {
        reader.write(&sk.address());
    }
}

/// Keeps the story of a socket that the snapshot found. Returns whether it is new.
#[inline(always)]
fn keep<R: Read>(sk: Sock<R>, known: &KnownOwner) -> bool {
    let state = sk.state();
    if state == CLOSE {
        // Never connected, or a corpse: its next life starts with an event.
        return false;
    }
    let wanted = owner::wants(&known.owner);
    if state == LISTEN && wanted {
        listener::want(sk);
    }
    if let Some(story) = Story::of(sk) {
        // An event came first, and knew less.
        // SAFETY: a value in the map.
        unsafe {
            if (*story).source == owner_source::UNKNOWN {
                Story::set_owner(story, known);
            }
            if wanted {
                (*story).held = 1;
            }
        }
        return false;
    }
    let socket = Identity::of(sk);
    // Whoever accepts from a listener need not be its owner, so every listener is kept; a story for each also tells its first
    // descriptor from the copies that were inherited.
    let wants_story =
        state == LISTEN || (!filtering(set::PID | set::COMM) || wanted) && socket::wants(sk, &socket, Unset::Passes);
    if !wants_story {
        return false;
    }
    let now = now_ns();
    let mut story = Story::new(known, sk.cookie(), now, state, socket.local.port);
    story.flags = SINCE_BEFORE;
    story.held = u8::from(wanted);
    let first = story.begin_if_absent(sk);
    if first && sk.state() == CLOSE {
        // Its end may have come before its story, and would never come again.
        Story::end(sk.address());
        return false;
    }
    if first && state == LISTEN {
        listener::add(sk, socket.netns, known);
    }
    first
}
