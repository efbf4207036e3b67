//! What a hunt looks for, and what it can see.

use std::time::Duration;

use crate::model::probes::{Hooks, Role};

/// Hooks of system calls: `io_uring` makes none, and those of 32-bit programs on a 64-bit kernel are not traced
/// (`arch_trace_is_compat_syscall()`, arch/x86/include/asm/ftrace.h, Linux 6.18).
const SYSCALLS: &str = "tracepoint/syscalls:";

/// What the hunt looks for, and what it can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakOptions {
    /// A socket younger than this is not shown, and one that is closed sooner was not late. With zero all are shown, and none is closed
    /// late: every close comes some time after the FIN.
    pub older_than: Duration,
    /// Whether a hook sees every `accept()`.
    pub accept_hook: bool,
    /// Whether a hook sees receives.
    pub receive_hook: bool,
    /// Whether snapshots list descriptors: without, nobody knows who holds a socket.
    pub descriptors: bool,
}

impl LeakOptions {
    /// What can be seen with these hooks.
    #[must_use]
    pub fn seen_by(hooks: &Hooks, older_than: Duration) -> Self {
        Self {
            older_than,
            accept_hook: hooks.chosen(Role::Accept).is_some_and(|hook| !hook.starts_with(SYSCALLS)),
            receive_hook: hooks.chosen(Role::EofReads).is_some(),
            descriptors: hooks.chosen(Role::Descriptors).is_some(),
        }
    }

    /// Whether a close was late that came so long after the socket had entered CLOSE_WAIT.
    pub(super) fn is_late(&self, age_ns: u64) -> bool {
        !self.older_than.is_zero() && u128::from(age_ns) >= self.older_than.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::probes::{HookAttempt, RoleProbe};

    #[test]
    fn hooks_of_system_calls_do_not_see_every_accept() {
        let sees = |hook: &str| {
            let attempts = vec![HookAttempt { hook: hook.to_owned(), refused: None }];
            let roles = vec![RoleProbe { role: Role::Accept, attempts }];
            let hooks = Hooks { kernel: "6.18.0".to_owned(), lockdown: None, roles };
            LeakOptions::seen_by(&hooks, Duration::ZERO).accept_hook
        };
        assert!(sees("fexit/inet_csk_accept") && sees("kretprobe/inet_csk_accept"));
        assert!(!sees("tracepoint/syscalls:sys_exit_accept{,4}"));
    }
}
