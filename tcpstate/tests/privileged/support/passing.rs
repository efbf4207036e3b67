//! Descriptors that change hands over a UNIX socket (`SCM_RIGHTS`).

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::{
    cmsg_space,
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recvmsg, sendmsg_addr, socket_with,
    },
};

use super::protocol::Failure;

/// Neither side waits longer for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// Passes a descriptor on to whoever takes it under this name.
pub(super) fn pass(name: &str, fd: impl AsFd) -> Result<(), Failure> {
    let channel = channel()?;
    let deadline = Instant::now() + PATIENCE;
    let fds = [fd.as_fd()];
    loop {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let sent = sendmsg_addr(&channel, &address(name)?, &[IoSlice::new(&[0])], &mut control, SendFlags::empty());
        match sent {
            // The other side is not there yet.
            Err(Errno::CONNREFUSED) if Instant::now() < deadline => sleep(Duration::from_millis(1)),
            sent => return Ok(sent.map(drop)?),
        }
    }
}

/// Takes the descriptor that is passed on under this name.
pub(super) fn take(name: &str) -> Result<OwnedFd, Failure> {
    let channel = channel()?;
    bind(&channel, &address(name)?)?;
    let mut waited = [PollFd::new(&channel, PollFlags::IN)];
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    if poll(&mut waited, Some(&patience))? == 0 {
        return Err(Failure::new("nothing was passed on"));
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&channel, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.flatten().next().ok_or_else(|| Failure::new("no descriptor came"))
}

fn channel() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

fn address(name: &str) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new_abstract_name(name.as_bytes())
}
