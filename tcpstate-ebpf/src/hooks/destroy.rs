//! `tcp_destroy_sock`: the story ends before the address can belong to another socket.

use tcpstate_common::config::filter;

use crate::{
    kernel::sock::Sock,
    leaks::{close_wait, closer},
    rodata::filtering,
    stories::{
        story::{EXITED, Story, TRACKED},
        unseen,
    },
};

#[inline(always)]
pub(crate) fn on_destroy(sk: Sock) {
    let key = sk.address();
    // Removing takes a lock even of what is not there, and with filters most sockets have no story.
    let Some(story) = Story::at(key) else { return };
    // SAFETY: a value in the map.
    unsafe { unseen::over(story) };
    if filtering(filter::LEAKS) {
        // SAFETY: a value in the map.
        unsafe {
            if (*story).marks & TRACKED != 0 {
                let is_its_own = Story::of(sk).is_some();
                if filtering(filter::CLOSERS) && (*story).marks & EXITED == 0 && is_its_own && sk.is_owned() {
                    closer::on_destroy(sk, story);
                }
                // Also that of a former socket at this address, which is gone as well.
                close_wait::destroyed(story, key);
            }
        }
    }
    Story::end(key);
}
