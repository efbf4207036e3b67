//! System calls that threads sleep in.

use tcpstate_common::arch::syscall;

/// A system call that threads sleep in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    number: i64,
    /// As its manual page is called.
    pub name: &'static str,
    /// What it sends to.
    pub sends: Sends,
}

/// What a system call sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// Nothing: it does not send.
    Nothing,
    /// The descriptor that is its first argument.
    First,
    /// A descriptor that is another argument: that of `splice()` is the third.
    Another,
}

const fn call(number: i64, name: &'static str) -> Syscall {
    Syscall { number, name, sends: Sends::Nothing }
}

const fn send(number: i64, name: &'static str) -> Syscall {
    Syscall { number, name, sends: Sends::First }
}

/// By number.
const SYSCALLS: [Syscall; 30] = [
    call(syscall::READ, "read"),
    send(syscall::WRITE, "write"),
    call(syscall::POLL, "poll"),
    call(syscall::PREAD64, "pread64"),
    call(syscall::PWRITE64, "pwrite64"),
    call(syscall::READV, "readv"),
    send(syscall::WRITEV, "writev"),
    call(syscall::SELECT, "select"),
    call(syscall::PAUSE, "pause"),
    call(syscall::NANOSLEEP, "nanosleep"),
    send(syscall::SENDFILE, "sendfile"),
    call(syscall::CONNECT, "connect"),
    call(syscall::ACCEPT, "accept"),
    send(syscall::SENDTO, "sendto"),
    call(syscall::RECVFROM, "recvfrom"),
    send(syscall::SENDMSG, "sendmsg"),
    call(syscall::RECVMSG, "recvmsg"),
    call(syscall::WAIT4, "wait4"),
    call(syscall::RT_SIGTIMEDWAIT, "rt_sigtimedwait"),
    call(syscall::FUTEX, "futex"),
    call(syscall::CLOCK_NANOSLEEP, "clock_nanosleep"),
    call(syscall::EPOLL_WAIT, "epoll_wait"),
    call(syscall::PSELECT6, "pselect6"),
    call(syscall::PPOLL, "ppoll"),
    Syscall { number: syscall::SPLICE, name: "splice", sends: Sends::Another },
    call(syscall::EPOLL_PWAIT, "epoll_pwait"),
    call(syscall::ACCEPT4, "accept4"),
    send(syscall::SENDMMSG, "sendmmsg"),
    call(syscall::IO_URING_ENTER, "io_uring_enter"),
    call(syscall::EPOLL_PWAIT2, "epoll_pwait2"),
];

impl Syscall {
    /// The one of this number; `None` where no thread sleeps in it for long, as far as is known here.
    #[must_use]
    pub fn of(number: i64) -> Option<&'static Self> {
        SYSCALLS.binary_search_by_key(&number, |call| call.number).ok().map(|index| &SYSCALLS[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_and_the_kernels() {
        assert!(SYSCALLS.is_sorted_by_key(|call| call.number));
        let number_of = |wanted: &str| SYSCALLS.iter().find(|call| call.name == wanted).map(|call| call.number);
        assert_eq!(number_of("sendto"), Some(libc::SYS_sendto));
        assert_eq!(number_of("futex"), Some(libc::SYS_futex));
        assert_eq!(number_of("epoll_wait"), Some(libc::SYS_epoll_wait));
        assert_eq!(number_of("accept4"), Some(libc::SYS_accept4));
        assert_eq!(number_of("splice"), Some(libc::SYS_splice));
        assert_eq!(Syscall::of(2), None);
    }
}
