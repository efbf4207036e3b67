//! Which hooks this kernel allows: tried, not guessed.

mod candidates;

use aya::{Btf, Ebpf};
use tcpstate_common::layout::Layout;
use tcpstate_core::model::probes::{HookAttempt, Hooks, Role, RoleProbe};

use super::{btf::KernelBtf, helpers::Helpers, refusal::Refused};

pub(super) use candidates::FUNCTIONS;

/// What hooks are tried on.
pub(super) struct Target<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) btf: &'a Btf,
    pub(super) types: &'a KernelBtf,
    pub(super) layout: &'a Layout,
    pub(super) helpers: &'a Helpers,
    /// The programs of leak hunting are wanted, too.
    pub(super) hunting: bool,
}

/// How many hooks of a role to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Until the kernel allows one.
    First,
    /// Every one that can be attached beside the others.
    All,
}

/// A way to fill a role.
struct Candidate {
    hook: &'static str,
    attach: fn(&mut Target<'_>) -> Result<(), Refused>,
    /// It is a substitute within the same programs, chosen when they are loaded: not to be tried where it is not needed.
    substitute: bool,
}

/// Whether a role is to be filled beside what is attached already.
pub(super) fn needs(hooks: &Hooks, role: Role) -> bool {
    match role {
        // The end of a function is seen of the calls that begin from now on, that of a system call always.
        Role::WaitingAccepts => hooks.chosen(Role::Accept).is_some_and(|hook| hook != candidates::ACCEPT_SYSCALLS),
        _ => true,
    }
}

/// Tries the hooks of a role, the preferred one first, and leaves attached what the kernel allows.
pub(super) fn attach(target: &mut Target<'_>, role: Role, search: Search) -> RoleProbe {
    let mut attempts: Vec<HookAttempt> = Vec::new();
    for candidate in candidates::of(role) {
        let found = attempts.iter().any(|attempt| attempt.refused.is_none());
        if found && (search == Search::First || candidate.substitute) {
            break;
        }
        let refused = (candidate.attach)(target).err().map(|Refused(refusal)| refusal);
        attempts.push(HookAttempt { hook: candidate.hook.to_owned(), refused });
    }
    RoleProbe { role, attempts }
}
