//! All TCP sockets of a network namespace, by netlink: no privilege is needed for one's own.

use std::{collections::HashMap, io};

use anyhow::{Context as _, Result, bail};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use tcpstate_core::{
    decode::diag::{self, Ask, Then},
    model::{Family, census::ListedSocket},
};

/// Larger than any datagram of a dump: the kernel makes them of 32 KiB at most (`netlink_dump()`, Linux 6.18).
const DATAGRAM: usize = 64 << 10;

/// Lists the sockets of the calling thread's network namespace.
///
/// One listing says which sockets there are. A second one, of few states, adds their ages; a socket that has changed its state
/// in between goes without.
///
/// # Errors
///
/// When the kernel has no `sock_diag`, or its answer cannot be read.
pub(super) fn sockets() -> Result<Vec<ListedSocket>> {
    let mut sockets = Vec::new();
    let mut aged = Vec::new();
    let mut buffer = vec![0; DATAGRAM];
    for (ask, into) in [(Ask::All, &mut sockets), (Ask::Ages, &mut aged)] {
        for family in [Family::Inet, Family::Inet6] {
            dump(&diag::request(family, ask), &mut buffer, into)
                .context("failed to list the TCP sockets by `sock_diag`")?;
        }
    }
    add_ages(&mut sockets, &aged);
    Ok(sockets)
}

fn add_ages(sockets: &mut [ListedSocket], aged: &[ListedSocket]) {
    let ages: HashMap<u64, &ListedSocket> = aged.iter().map(|socket| (socket.cookie, socket)).collect();
    for socket in sockets.iter_mut().filter(|socket| socket.age.is_none()) {
        if let Some(aged) = ages.get(&socket.cookie).filter(|aged| aged.state == socket.state) {
            socket.age = aged.age;
        }
    }
}

fn dump(request: &[u8], buffer: &mut [u8], sockets: &mut Vec<ListedSocket>) -> Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    send(&socket, request, SendFlags::empty())?;
    loop {
        let received = match recv(&socket, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length)) => length,
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(datagram) = buffer.get(..received) else {
            bail!("a datagram of {received} bytes is larger than any that the kernel is known to send");
        };
        match diag::datagram(datagram, sockets)? {
            Then::End => return Ok(()),
            Then::More if received == 0 => bail!("the kernel ended its answer too early"),
            Then::More => {}
        }
    }
}
