//! What an actor does with sockets: thin wrappers of the system calls that report the kernel's own view.

use std::{
    collections::HashMap,
    fs::File,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, dup2},
    net::{self, AddressFamily, SocketAddrAny, SocketFlags, SocketType, ipproto, sockopt},
    thread::gettid,
};

use super::{
    clock, kernel, passing,
    protocol::{AcceptCall, Failure, Socket, Span, Transport},
};

/// No call of an actor blocks for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The descriptors of an actor, shared by its threads.
#[derive(Clone, Default)]
pub(crate) struct Sockets(Arc<Mutex<HashMap<i32, Arc<OwnedFd>>>>);

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { errno: error.raw_os_error(), message: error.to_string() }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno: Some(errno.raw_os_error()), message: errno.to_string() }
    }
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { errno: None, message: message.into() }
    }
}

impl Sockets {
    pub(crate) fn get(&self, fd: i32) -> Result<Arc<OwnedFd>, Failure> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fd)
            .cloned()
            .ok_or_else(|| Failure::new(format!("no descriptor {fd}")))
    }

    fn keep(&self, fd: OwnedFd) -> Arc<OwnedFd> {
        let fd = Arc::new(fd);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(fd.as_raw_fd(), Arc::clone(&fd));
        fd
    }

    pub(crate) fn listen(
        &self,
        at: SocketAddr,
        transport: Transport,
        backlog: i32,
        share_port: bool,
    ) -> Result<Socket, Failure> {
        let fd = new_socket(at, transport)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        sockopt::set_socket_reuseport(&fd, share_port)?;
        net::bind(&fd, &at)?;
        let opened = clock::span(|| net::listen(&fd, backlog))?;
        describe(&self.keep(fd), opened, None)
    }

    pub(crate) fn connect(
        &self,
        from: Option<SocketAddr>,
        to: SocketAddr,
        transport: Transport,
    ) -> Result<Socket, Failure> {
        let fd = new_socket(to, transport)?;
        if let Some(from) = from {
            sockopt::set_socket_reuseaddr(&fd, true)?;
            net::bind(&fd, &from)?;
        }
        self.connect_existing(&self.keep(fd), to)
    }

    pub(crate) fn connect_existing(&self, fd: &Arc<OwnedFd>, to: SocketAddr) -> Result<Socket, Failure> {
        let from_ns = clock::monotonic_ns();
        let result = net::connect(fd, &to);
        let opened = Span { from_ns, to_ns: clock::monotonic_ns() };
        describe(fd, opened, result.err().map(Errno::raw_os_error))
    }

    /// Takes up to `most` bytes without waiting; tells how many there were.
    // A name in stacks, whatever is optimized.
    #[inline(never)]
    pub(crate) fn recv(&self, fd: i32, most: usize) -> Result<usize, Failure> {
        Ok(net::recv(self.get(fd)?, &mut vec![0; most], net::RecvFlags::DONTWAIT)?.0)
    }

    // As above.
    #[inline(never)]
    pub(crate) fn accept(&self, listener: i32, call: AcceptCall) -> Result<Socket, Failure> {
        let listener = self.get(listener)?;
        let from_ns = clock::monotonic_ns();
        let fd = match call {
            AcceptCall::Accept => net::accept(&listener)?,
            AcceptCall::Accept4 => net::accept_with(&listener, SocketFlags::CLOEXEC)?,
        };
        describe(&self.keep(fd), Span { from_ns, to_ns: clock::monotonic_ns() }, None)
    }

    /// A socket that another process passes on by this name.
    pub(crate) fn take_passed(&self, name: &str) -> Result<Socket, Failure> {
        let from_ns = clock::monotonic_ns();
        let fd = passing::take(name)?;
        describe(&self.keep(fd), Span { from_ns, to_ns: clock::monotonic_ns() }, None)
    }

    /// Closes the descriptor here and now: an error if another thread is inside a call on it.
    pub(crate) fn close(&self, fd: i32) -> Result<(), Failure> {
        self.take(fd).map(drop)
    }

    /// The same by `close_range()`.
    pub(crate) fn close_range(&self, fd: i32) -> Result<(), Failure> {
        let fd = self.take(fd)?.into_raw_fd();
        // SAFETY: closes one descriptor, which nobody owns any more.
        match unsafe { libc::syscall(libc::SYS_close_range, fd, fd, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error().into()),
        }
    }

    /// The same by `dup2()` of something else over it.
    pub(crate) fn replace(&self, fd: i32) -> Result<(), Failure> {
        let mut fd = self.take(fd)?;
        Ok(dup2(File::open("/dev/null")?, &mut fd)?)
    }

    fn take(&self, fd: i32) -> Result<OwnedFd, Failure> {
        let removed = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&fd);
        let removed = removed.ok_or_else(|| Failure::new(format!("no descriptor {fd}")))?;
        Arc::try_unwrap(removed).map_err(|_| Failure::new(format!("descriptor {fd} is in use")))
    }
}

/// Waits until one of `events` (or an error or hang-up) is reported.
pub(crate) fn await_events(fd: impl AsFd, events: PollFlags) -> Result<(), Failure> {
    let mut fds = [PollFd::new(&fd, events)];
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    match poll(&mut fds, Some(&patience))? {
        0 => Err(Failure::new(format!("{events:?} was not reported in {PATIENCE:?}"))),
        _ => Ok(()),
    }
}

fn new_socket(address: SocketAddr, transport: Transport) -> Result<OwnedFd, Failure> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = match transport {
        Transport::Tcp => ipproto::TCP,
        Transport::Mptcp => ipproto::MPTCP,
    };
    let fd = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(protocol))?;
    // `SO_SNDTIMEO` bounds connect(), `SO_RCVTIMEO` accept(): both stay ordinary blocking calls.
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(PATIENCE))?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE))?;
    if let SocketAddr::V6(_) = address {
        sockopt::set_ipv6_v6only(&fd, false)?;
    }
    if !programs_make_cookies() {
        sockopt::socket_cookie(&fd)?;
    }
    Ok(fd)
}

/// Whether a tracing program can have the cookie of a socket made, which whoever asks first does: since Linux 5.12.
fn programs_make_cookies() -> bool {
    kernel::is_at_least(5, 12)
}

fn describe(fd: &Arc<OwnedFd>, opened: Span, errno: Option<i32>) -> Result<Socket, Failure> {
    Ok(Socket {
        fd: fd.as_raw_fd(),
        cookie: sockopt::socket_cookie(fd)?,
        local: inet(net::getsockname(fd)?)?,
        // ENOTCONN: a listener, or over already.
        remote: net::getpeername(fd).ok().flatten().map(inet).transpose()?,
        tid: gettid().as_raw_nonzero().get().cast_unsigned(),
        opened,
        errno,
    })
}

fn inet(address: SocketAddrAny) -> Result<SocketAddr, Failure> {
    SocketAddr::try_from(address).map_err(Failure::from)
}

/// The wildcard address with port 0 of the same family: what a socket without a peer shows.
pub(crate) fn nobody(family_of: SocketAddr) -> SocketAddr {
    match family_of {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
