//! Messages over a UNIX socket, with open files beside them.
//!
//! A message is its length, four bytes, and that many bytes in postcard's format. Both ends take turns, so neither waits for the other to
//! read while that waits for it. A message from who may have been taken over is read like any other: its length is bounded, and what it
//! says is checked by who asked.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
    time::Timespec,
};
use serde::{Serialize, de::DeserializeOwned};

/// Longest message, bytes: the mappings of a process with thousands of libraries, or the names of all frames of the largest stacks.
pub const MOST_BYTES: usize = 4 << 20;
/// Most files beside a message.
pub const MOST_FILES: usize = 4;

/// Why nothing came, or went.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other end is gone.
    #[error("the other end is gone")]
    Closed,
    /// It took too long.
    #[error("it took too long")]
    TimedOut,
    /// What came is no message.
    #[error("what came is no message: {0}")]
    Malformed(String),
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for ChannelError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            other => Self::Io(other.into()),
        }
    }
}

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Two ends that belong together.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The end that a descriptor is.
    #[must_use]
    pub fn of(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The descriptor.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.0
    }

    /// Sends a message with at most [`MOST_FILES`] files, by `deadline` if there is one.
    ///
    /// # Errors
    ///
    /// The other end is gone or does not read, or the message is longer than [`MOST_BYTES`].
    pub fn send(
        &self,
        message: &impl Serialize,
        files: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<(), ChannelError> {
        let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(malformed)?;
        let length = bytes.len() - 4;
        if length > MOST_BYTES || files.len() > MOST_FILES {
            return Err(ChannelError::Malformed(format!("{length} bytes and {} files", files.len())));
        }
        bytes[..4].copy_from_slice(&u32::try_from(length).map_err(malformed)?.to_le_bytes());
        let mut sent = 0;
        while sent < bytes.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if sent == 0 && !files.is_empty() {
                beside.push(SendAncillaryMessage::ScmRights(files));
            }
            let rest = [IoSlice::new(&bytes[sent..])];
            match sendmsg(&self.0, &rest, &mut beside, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for a message, until `deadline` if there is one. Files are missing where this process may open no more of them.
    ///
    /// # Errors
    ///
    /// The other end is gone, says nothing, or says what is no message.
    pub fn receive<T: DeserializeOwned>(&self, deadline: Option<Instant>) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        let mut files = Vec::new();
        let mut length = [0; 4];
        self.fill(&mut length, &mut files, deadline)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MOST_BYTES {
            return Err(ChannelError::Malformed(format!("{length} bytes")));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, &mut files, deadline)?;
        Ok((postcard::from_bytes(&bytes).map_err(malformed)?, files))
    }

    fn fill(&self, bytes: &mut [u8], files: &mut Vec<OwnedFd>, deadline: Option<Instant>) -> Result<(), ChannelError> {
        let mut filled = 0;
        while filled < bytes.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
            let mut beside = RecvAncillaryBuffer::new(&mut space);
            let mut rest = [IoSliceMut::new(&mut bytes[filled..])];
            match recvmsg(&self.0, &mut rest, &mut beside, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT) {
                Ok(received) if received.bytes == 0 => return Err(ChannelError::Closed),
                Ok(received) => {
                    filled += received.bytes;
                    for message in beside.drain() {
                        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                            files.extend(descriptors);
                        }
                    }
                    if files.len() > MOST_FILES {
                        return Err(ChannelError::Malformed(format!("{} files", files.len())));
                    }
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until there is something to receive, or `until`. Returns whether there is.
    ///
    /// # Errors
    ///
    /// Those of `poll(2)`.
    pub fn is_ready(&self, until: Instant) -> Result<bool, ChannelError> {
        match self.wait(PollFlags::IN, Some(until)) {
            Ok(()) => Ok(true),
            Err(ChannelError::TimedOut) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn wait(&self, events: PollFlags, deadline: Option<Instant>) -> Result<(), ChannelError> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map(timespec);
            match poll(&mut [PollFd::new(&self.0, events)], timeout.as_ref()) {
                Ok(0) if left.is_none_or(|left| !left.is_zero()) => {}
                Ok(0) => return Err(ChannelError::TimedOut),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: duration.subsec_nanos().into() }
}

fn malformed(error: impl ToString) -> ChannelError {
    ChannelError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, thread};

    use super::*;
    use crate::{Need, Task, WorkerAnswer};

    #[test]
    fn long_messages_and_files_arrive() {
        let (one, other) = Channel::pair().expect("a pair");
        let addresses: Vec<u64> = (0..300_000).map(|n| u64::MAX - n).collect();
        let task = Task::NameJit { addresses };
        let sent = task.clone();
        let sender = thread::spawn(move || {
            let file = File::open("/proc/self/comm").expect("own name");
            one.send(&sent, &[file.as_fd()], None).expect("sent");
        });
        let (received, files) = other.receive::<Task>(None).expect("received");
        sender.join().expect("no panic");
        assert_eq!(received, task);
        let mut text = String::new();
        File::from(files.into_iter().next().expect("a file")).read_to_string(&mut text).expect("it is open");
        assert!(!text.is_empty());
        assert!(matches!(other.receive::<Task>(None), Err(ChannelError::Closed)));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (one, other) = Channel::pair().expect("a pair");
        let soon = || Some(Instant::now() + Duration::from_millis(20));
        assert!(matches!(one.receive::<WorkerAnswer>(soon()), Err(ChannelError::TimedOut)));
        assert!(!one.is_ready(Instant::now()).expect("a socket"));
        let task = Task::NameJit { addresses: vec![u64::MAX; 300_000] };
        assert!(matches!(other.send(&task, &[], soon()), Err(ChannelError::TimedOut)), "nobody reads");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (one, other) = Channel::pair().expect("a pair");
        rustix::io::write(&one, &[0xff; 4]).expect("room");
        assert!(matches!(other.receive::<WorkerAnswer>(None), Err(ChannelError::Malformed(_))));
        let (one, other) = Channel::pair().expect("a pair");
        rustix::io::write(&one, &[2, 0, 0, 0, 0xff, 0xff]).expect("room");
        assert!(matches!(other.receive::<Need>(None), Err(ChannelError::Malformed(_))));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = postcard::from_bytes::<WorkerAnswer>(&bytes);
        }
    }
}
