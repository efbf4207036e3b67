//! Listeners whose owner has exited: who holds them owns them from now on. An iterator over descriptors, which user space sets going
//! when such a process has ended.
//!
//! Of several holders the first counts that the kernel lists, the one with the lowest number, as in the opening snapshot. It is one of
//! those that may accept; a hunt tells all of them.

use tcpstate_common::event::owner_source;

use crate::{
    kernel::{
        file::with_socket,
        iter::{self, TaskFileContext},
        read::Read,
        sock::Sock,
        state::LISTEN,
        task::Task,
    },
    stories::{listener, listening, owner::KnownOwner, story::Story},
};

/// A descriptor of a task.
#[inline(always)]
pub(crate) fn on_file(ctx: *const TaskFileContext) {
    // SAFETY: the iterator's context.
    unsafe {
        let Some(descriptor) = iter::descriptor(ctx) else { return };
        with_socket!(descriptor.file, |sk| inherit(descriptor.task, sk));
    }
}

#[inline(always)]
fn inherit<R: Read>(task: Task, sk: Sock<R>) {
    if sk.state() != LISTEN {
        return;
    }
    let Some(story) = Story::of(sk) else { return };
    let mut known = KnownOwner::UNKNOWN;
    // SAFETY: a value in the map; only one iterator runs at a time.
    unsafe {
        Story::known_owner(story, &mut known);
        if known.source == owner_source::UNKNOWN || !listening::lives(&known.owner) {
            known = KnownOwner { owner: task.owner(), source: owner_source::SNAPSHOT, place: 0 };
            if !listening::begins_unless_exiting(&known.owner, task) {
                return;
            }
            Story::set_owner(story, &known);
        }
    }
    listener::pass_on(sk, &known);
}
