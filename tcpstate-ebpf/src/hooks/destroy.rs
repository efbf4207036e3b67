//! `tcp_destroy_sock`: the story ends before the address can belong to another socket.

use tcpstate_common::config::filter;

use crate::{
    kernel::sock::Sock,
    leaks::{close_wait, closer},
    rodata::filtering,
    stories::story::{EXITED, Story, TRACKED},
};

#[inline(always)]
pub(crate) fn on_destroy(sk: Sock) {
    let key = sk.address();
    // Removing takes a lock even of what is not there, and with filters most sockets have no story.
    let Some(story) = Story::of(key) else { return };
    if filtering(filter::LEAKS) {
        // SAFETY: a value in the map.
        unsafe {
            if (*story).marks & TRACKED != 0 {
                if filtering(filter::CLOSERS) && (*story).marks & EXITED == 0 && sk.is_owned() {
                    closer::on_destroy(sk, story);
                }
                close_wait::destroyed(story, key);
            }
        }
    }
    Story::end(key);
}
