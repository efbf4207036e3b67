//! What the epoll descriptors of a process watch.
//!
//! The kernel tells of it under the lock of the descriptor (`ep_show_fdinfo()`, `fs/eventpoll.c`), for which it waits whatever signal
//! comes. Who has the descriptor can have that lock held for as long as it likes: `epoll_wait()` copies events to memory under it
//! (`ep_send_events()`), and that memory may be a mapping of a file system in user space that does not answer. So nobody but the broker
//! reads this, who is left behind then.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    time::{Duration, Instant},
};

use tcpstate_wire::Waker;

use super::thread;

/// Descriptors of a process that are gone through, and epoll descriptors among them that are looked into, at most.
const MOST_DESCRIPTORS: usize = 1 << 16;
const MOST_EPOLLS: usize = 64;
/// Bytes read of one of these: some 50,000 descriptors.
const MOST_OF_ONE: u64 = 4 << 20;
/// How long it may take in all, where the kernel answers: each descriptor takes a microsecond or two. It is less than a request to the
/// broker may take.
const LONGEST: Duration = Duration::from_secs(1);

/// `EPOLLIN` and `EPOLLRDHUP`: what a socket whose peer has closed is ready for, as long as it is open (`tcp_poll()`).
const ENDED: u32 = 0x1 | 0x2000;
/// `EPOLLET`: told of once.
const EDGE_TRIGGERED: u32 = 1 << 31;

/// The epoll descriptor of a process that watches most of these sockets for their end, level-triggered; `None` when none does, the
/// process cannot be looked into, or that takes too long.
pub(crate) fn waker(pid: u32, sockets: &[u32]) -> Option<Waker> {
    let deadline = Instant::now() + LONGEST;
    let sockets: HashSet<u32> = sockets.iter().copied().collect();
    let process = thread::directory(Path::new("/proc"), pid);
    let mut most: Option<Waker> = None;
    for epoll in epolls(&process, deadline)? {
        let Ok(info) = lines(&process.join("fdinfo").join(epoll.to_string())) else { continue };
        let watched = str::from_utf8(&info).ok()?.lines().filter_map(Watch::parse);
        let theirs = watched.filter(|watch| watch.is_of_end() && sockets.contains(&watch.fd));
        let mut sockets = 0;
        for watch in theirs {
            sockets += u64::from(watch.is_still(&process));
            in_time(deadline)?;
        }
        if sockets > most.map_or(0, |most| most.sockets) {
            most = Some(Waker { epoll, sockets });
        }
        in_time(deadline)?;
    }
    most
}

/// The whole lines at the beginning of a file.
fn lines(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MOST_OF_ONE).read_to_end(&mut text)?;
    text.truncate(text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
    Ok(text)
}

fn in_time(deadline: Instant) -> Option<()> {
    (Instant::now() < deadline).then_some(())
}

fn epolls(process: &Path, deadline: Instant) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(process.join("fd")).ok()?.take(MOST_DESCRIPTORS) {
        in_time(deadline)?;
        let entry = entry.ok()?;
        let is_epoll = fs::read_link(entry.path()).is_ok_and(|target| target == Path::new("anon_inode:[eventpoll]"));
        if let (true, Some(fd)) = (is_epoll, entry.file_name().to_str().and_then(|name| name.parse().ok())) {
            found.push(fd);
        }
        if found.len() == MOST_EPOLLS {
            break;
        }
    }
    Some(found)
}

/// A line of `/proc/PID/fdinfo/EPOLL` (`ep_show_fdinfo()`, fs/eventpoll.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watch {
    fd: u32,
    events: u32,
    inode: u64,
}

impl Watch {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mut value = |name: &str| words.by_ref().skip_while(|&word| word != name).nth(1);
        let fd = value("tfd:")?.parse().ok()?;
        let events = u32::from_str_radix(value("events:")?, 16).ok()?;
        // Without a blank before the number.
        let inode = line.split_whitespace().find_map(|word| word.strip_prefix("ino:"))?;
        Some(Self { fd, events, inode: u64::from_str_radix(inode, 16).ok()? })
    }

    fn is_of_end(self) -> bool {
        self.events & ENDED != 0 && self.events & EDGE_TRIGGERED == 0
    }

    /// Whether the descriptor is still what it was when it was added: a closed one may have left its number to another.
    fn is_still(self, process: &Path) -> bool {
        let target = fs::read_link(process.join("fd").join(self.fd.to_string()));
        target.is_ok_and(|target| target == Path::new(&format!("socket:[{}]", self.inode)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
    };

    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

    use super::*;

    #[test]
    fn a_line_of_the_kernel() {
        let line = "tfd:        5 events:     2019 data:                5  pos:0 ino:1a2b3c sdev:8";
        let watch = Watch::parse(line).expect("a line of Linux 6.1");
        assert_eq!(watch, Watch { fd: 5, events: 0x2019, inode: 0x1a_2b3c });
        assert!(watch.is_of_end() && !Watch { events: 0x8000_2001, ..watch }.is_of_end());
        // EPOLLONESHOT that was told of: nothing but it is left.
        assert!(!Watch { events: 0x4000_0000, ..watch }.is_of_end());
        assert_eq!(Watch::parse("pos:\t0"), None);
        assert_eq!(Watch::parse("tfd: x events: 1 ino:1"), None);
    }

    #[test]
    fn our_own() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let sockets: Vec<TcpStream> =
            (0..3).map(|_| TcpStream::connect(listener.local_addr()?)).collect::<io::Result<_>>()?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = [EventFlags::RDHUP, EventFlags::IN | EventFlags::ET, EventFlags::OUT];
        for (socket, flags) in sockets.iter().zip(flags) {
            epoll::add(&epoll, socket, EventData::new_u64(0), flags)?;
        }
        let all: Vec<u32> = sockets.iter().map(|socket| socket.as_raw_fd().cast_unsigned()).collect();
        let found = waker(std::process::id(), &all);
        assert_eq!(found, Some(Waker { epoll: epoll.as_raw_fd().cast_unsigned(), sockets: 1 }));
        assert_eq!(waker(std::process::id(), &[]), None);
        assert_eq!(waker(i32::MAX as u32, &all), None);
        Ok(())
    }
}
