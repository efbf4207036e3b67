//! The hooks of a role, one after another until the kernel allows one.

use tcpstate_core::model::probes::{HookAttempt, Hooks, Role, RoleProbe};

use super::{super::refusal::Refused, candidates, target::HookTarget};

/// How many hooks of a role to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum Search {
    /// Until the kernel allows one.
    First,
    /// Every one that can be attached beside the others.
    All,
}

/// Whether a role is to be filled beside what is attached already.
pub(in crate::kernel) fn needs(hooks: &Hooks, role: Role) -> bool {
    match role {
        // The end of a function is seen of the calls that begin from now on, that of a system call always.
        Role::WaitingAccepts => {
            hooks.chosen(Role::Accept).is_some_and(|hook| !hook.starts_with(candidates::ACCEPT_SYSCALLS))
        }
        _ => true,
    }
}

/// Tries the hooks of a role, the preferred one first, and leaves attached what the kernel allows.
pub(in crate::kernel) fn attach(target: &mut HookTarget<'_>, role: Role, search: Search) -> RoleProbe {
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
