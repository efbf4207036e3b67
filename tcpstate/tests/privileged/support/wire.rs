//! A wire between two namespaces that can hold what is on it: two TUN devices and a thread that carries packets.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_setfl},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::netns::Namespace;

/// Name of the device at both ends.
pub(crate) const DEVICE: &str = "wire0";

/// How long the carrying thread waits before it looks whether packets are still to be held.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

pub(crate) struct Wire {
    held: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    carrier: Option<JoinHandle<io::Result<()>>>,
}

impl Wire {
    /// Puts an end of the wire, [`DEVICE`], into each namespace.
    pub(crate) fn between(one: &Namespace, other: &Namespace) -> Result<Self> {
        let mut ends = [tun_in(&one.path())?, tun_in(&other.path())?];
        let (held, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (holding, ending) = (Arc::clone(&held), Arc::clone(&ended));
        let carrier = thread::spawn(move || carry(&mut ends, &holding, &ending));
        Ok(Self { held, ended, carrier: Some(carrier) })
    }

    /// From now on packets wait on the wire.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Delivers what waits, each direction in order, before anything that is sent in answer.
    pub(crate) fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// Ends the wire; an error if it did not carry everything.
    pub(crate) fn end(mut self) -> Result<()> {
        self.ended.store(true, Ordering::SeqCst);
        let carrier = self.carrier.take().context("the wire was ended twice")?;
        carrier.join().map_err(|_| anyhow!("the wire panicked"))?.context("wire")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

fn carry(ends: &mut [File; 2], held: &AtomicBool, ended: &AtomicBool) -> io::Result<()> {
    let mut waiting = [Vec::new(), Vec::new()];
    while !ended.load(Ordering::SeqCst) {
        let [one, other] = &*ends;
        let mut fds = [PollFd::new(one, PollFlags::IN), PollFd::new(other, PollFlags::IN)];
        poll(&mut fds, Some(&TICK))?;
        for (end, waiting) in ends.iter_mut().zip(&mut waiting) {
            read_all(end, waiting)?;
        }
        if !held.load(Ordering::SeqCst) {
            for (end, waiting) in waiting.iter_mut().enumerate() {
                for packet in waiting.drain(..) {
                    match ends[1 - end].write_all(&packet) {
                        // That end is not up yet: nobody is there to hear what the first one says when it comes up.
                        Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
                        written => written?,
                    }
                }
            }
        }
    }
    Ok(())
}

fn read_all(end: &mut File, waiting: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let mut packet = [0; 2048];
    loop {
        match end.read(&mut packet) {
            Ok(length) => waiting.push(packet[..length].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// A TUN device belongs to the namespace of the thread that makes it, so a thread goes there for it.
fn tun_in(netns: &Path) -> Result<File> {
    let netns = File::open(netns)?;
    let made = thread::spawn(move || {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        tun()
    });
    made.join().map_err(|_| anyhow!("the thread that makes a TUN device panicked"))?
}

fn tun() -> Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun").context("`/dev/net/tun`")?;
    // SAFETY: `ifreq` is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI)?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    ensure!(result == 0, "TUNSETIFF: {}", io::Error::last_os_error());
    fcntl_setfl(&file, OFlags::NONBLOCK)?;
    Ok(file)
}
