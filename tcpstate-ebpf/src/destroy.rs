//! `tcp_destroy_sock`: the story ends before the address can belong to another socket.

use crate::{maps::SOCKETS, sock::Sock};

#[inline(always)]
pub(crate) fn on_destroy(sk: Sock) {
    let _ = SOCKETS.remove(sk.address());
}
