//! System calls that threads sleep in.

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

/// By number (`arch/x86/entry/syscalls/syscall_64.tbl`).
const SYSCALLS: [Syscall; 30] = [
    call(0, "read"),
    send(1, "write"),
    call(7, "poll"),
    call(17, "pread64"),
    call(18, "pwrite64"),
    call(19, "readv"),
    send(20, "writev"),
    call(23, "select"),
    call(34, "pause"),
    call(35, "nanosleep"),
    send(40, "sendfile"),
    call(42, "connect"),
    call(43, "accept"),
    send(44, "sendto"),
    call(45, "recvfrom"),
    send(46, "sendmsg"),
    call(47, "recvmsg"),
    call(61, "wait4"),
    call(128, "rt_sigtimedwait"),
    call(202, "futex"),
    call(230, "clock_nanosleep"),
    call(232, "epoll_wait"),
    call(270, "pselect6"),
    call(271, "ppoll"),
    Syscall { number: 275, name: "splice", sends: Sends::Another },
    call(281, "epoll_pwait"),
    call(288, "accept4"),
    send(307, "sendmmsg"),
    call(426, "io_uring_enter"),
    call(441, "epoll_pwait2"),
];

/// The system call of this number; `None` for one that no thread sleeps in for long, as far as is known here.
#[must_use]
pub fn syscall(number: i64) -> Option<&'static Syscall> {
    SYSCALLS.binary_search_by_key(&number, |call| call.number).ok().map(|index| &SYSCALLS[index])
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
        assert_eq!(syscall(2), None);
    }
}
