//! What this process may do, read here and nowhere else: `preflight` decides by it, `doctor` shows it.

use rustix::{
    io::Errno,
    process::geteuid,
    thread::{CapabilitySet, capabilities},
};
use tcpstate_core::model::doctor::Capability;

use super::initial::in_initial_user_namespace;

/// What a capability is for here (capabilities(7)).
struct Purpose {
    set: CapabilitySet,
    name: &'static str,
    purpose: &'static str,
    /// Whether nothing can be traced without it.
    needed: bool,
    /// Another that will do.
    stand_in: CapabilitySet,
}

const PURPOSES: [Purpose; 7] = [
    needed(CapabilitySet::BPF, "CAP_BPF", "loading BPF programs"),
    needed(CapabilitySet::PERFMON, "CAP_PERFMON", "attaching them to kernel tracepoints"),
    useful(CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN", "other network namespaces"),
    useful(CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE", "descriptors, code and stacks of other users' processes"),
    Purpose {
        stand_in: CapabilitySet::DAC_OVERRIDE,
        ..useful(
            CapabilitySet::DAC_READ_SEARCH,
            "CAP_DAC_READ_SEARCH",
            "lists of other users' descriptors, and tracefs where this user may not enter it",
        )
    },
    useful(CapabilitySet::SYSLOG, "CAP_SYSLOG", "names of kernel functions, for `--kernel-stack`"),
    useful(CapabilitySet::SYS_RESOURCE, "CAP_SYS_RESOURCE", "raising RLIMIT_MEMLOCK, where BPF counts against it"),
];

const fn needed(set: CapabilitySet, name: &'static str, purpose: &'static str) -> Purpose {
    Purpose { set, name, purpose, needed: true, stand_in: CapabilitySet::SYS_ADMIN }
}

const fn useful(set: CapabilitySet, name: &'static str, purpose: &'static str) -> Purpose {
    Purpose { set, name, purpose, needed: false, stand_in: CapabilitySet::empty() }
}

/// The user and the capabilities that this process has now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Privileges {
    /// Effective user id.
    pub(crate) uid: u32,
    /// Whether its capabilities are those that `capable()` asks for (`kernel/capability.c`), as `bpf_capable()` does.
    pub(crate) in_initial_user_namespace: bool,
    effective: Result<CapabilitySet, Errno>,
}

impl Privileges {
    pub(crate) fn read() -> Self {
        Self {
            uid: geteuid().as_raw(),
            in_initial_user_namespace: in_initial_user_namespace(),
            effective: capabilities(None).map(|sets| sets.effective),
        }
    }

    /// Every capability that matters here. None counts in a user namespace of one's own.
    pub(crate) fn capabilities(&self) -> Vec<Capability> {
        let effective = match self.effective {
            Ok(effective) if self.in_initial_user_namespace => effective,
            _ => CapabilitySet::empty(),
        };
        PURPOSES.iter().map(|purpose| purpose.judge(effective)).collect()
    }

    /// Whether this one counts here. Where the kernel does not tell, it does not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.capabilities().iter().any(|capability| capability.name == name && capability.effective)
    }

    /// Whether no process is kept from us, but by a security module (`ptrace_may_access()`, `kernel/ptrace.c`).
    pub(super) fn sees_all_processes(&self) -> bool {
        self.has("CAP_SYS_PTRACE")
    }

    /// Why some processes could not be looked into; `others` says that some of these are not of this user.
    pub(crate) fn why_refused(&self, others: bool) -> String {
        if !self.in_initial_user_namespace {
            return "no capability counts for them in a user namespace other than the host's: run tcpstate on the host"
                .to_owned();
        }
        // Descriptors can be listed by their process's user, and by who may read every directory (`proc_fd_permission()`, `fs/proc/fd.c`).
        let wanted = [("CAP_SYS_PTRACE", true), ("CAP_DAC_READ_SEARCH", others)];
        let lacking: Vec<_> = wanted.iter().filter(|(name, wanted)| *wanted && !self.has(name)).collect();
        match lacking[..] {
            [] => "it was refused although `CAP_SYS_PTRACE` is held: a security module forbids it".to_owned(),
            [(name, _)] => format!("it takes `{name}`"),
            [(first, _), (second, _), ..] => format!("it takes `{first}` and `{second}`"),
        }
    }

    /// What follows where something is not permitted: the capability that it takes, unless it is held.
    pub(crate) fn unless_held(&self, name: &str) -> String {
        if self.has(name) { String::new() } else { format!(", which takes `{name}`") }
    }

    /// The capabilities without which nothing can be traced and that are not there.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub(crate) fn missing(&self) -> Result<Vec<Capability>, Errno> {
        let effective = self.effective?;
        let needed = PURPOSES.iter().filter(|purpose| purpose.needed);
        Ok(needed.map(|purpose| purpose.judge(effective)).filter(|capability| !capability.effective).collect())
    }
}

impl Purpose {
    fn judge(&self, effective: CapabilitySet) -> Capability {
        let Self { set, name, purpose, stand_in, .. } = *self;
        Capability { name, purpose, effective: effective.contains(set) || effective.intersects(stand_in) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(effective: CapabilitySet, in_initial_user_namespace: bool) -> Privileges {
        Privileges { uid: 1000, in_initial_user_namespace, effective: Ok(effective) }
    }

    #[test]
    fn names_what_is_missing() {
        let names = |set| {
            let missing = with(set, true).missing().expect("known");
            missing.into_iter().map(|capability| capability.name).collect::<Vec<_>>()
        };
        assert_eq!(names(CapabilitySet::empty()), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(names(CapabilitySet::BPF | CapabilitySet::NET_ADMIN), ["CAP_PERFMON"]);
        assert!(names(CapabilitySet::BPF | CapabilitySet::PERFMON).is_empty());
        assert!(names(CapabilitySet::SYS_ADMIN).is_empty());
    }

    #[test]
    fn no_capability_counts_in_a_user_namespace_of_ones_own() {
        let effective = |initial| {
            let capabilities = with(CapabilitySet::SYS_ADMIN, initial).capabilities();
            capabilities.into_iter().filter(|one| one.effective).map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(effective(true), ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"]);
        assert!(effective(false).is_empty());
    }
}
