//! Which hooks a kernel allows, what each is for, and what is not to be had without it.

/// What a hook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Every TCP transition.
    Transitions,
    /// The end of a socket.
    Ends,
    /// `accept()`: where a passive socket meets its process.
    Accept,
    /// Receives that return 0.
    EofReads,
    /// Descriptors of open sockets.
    Descriptors,
    /// Open sockets, also those without a descriptor, and their queues.
    Sockets,
    /// Where threads are.
    Threads,
    /// Processes that begin and end.
    Processes,
    /// Identities of sockets.
    SocketIds,
    /// cgroups of sockets.
    Cgroups,
    /// User registers.
    Registers,
    /// User stacks.
    UserStacks,
    /// Calls of `accept()` that were under way at the start, where the hook of [`Role::Accept`] does not see them.
    WaitingAccepts,
    /// `splice()` that returns 0.
    SpliceReads,
}

impl Role {
    /// Every role, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::Transitions,
        Self::Ends,
        Self::Accept,
        Self::WaitingAccepts,
        Self::EofReads,
        Self::SpliceReads,
        Self::Descriptors,
        Self::Sockets,
        Self::Threads,
        Self::Processes,
        Self::SocketIds,
        Self::Cgroups,
        Self::Registers,
        Self::UserStacks,
    ];

    /// Its name in every format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transitions => "transitions",
            Self::Ends => "ends",
            Self::Accept => "accept",
            Self::WaitingAccepts => "waiting-accepts",
            Self::EofReads => "eof-reads",
            Self::SpliceReads => "splice-reads",
            Self::Descriptors => "descriptors",
            Self::Sockets => "sockets",
            Self::Threads => "threads",
            Self::Processes => "processes",
            Self::SocketIds => "socket-ids",
            Self::Cgroups => "cgroups",
            Self::Registers => "registers",
            Self::UserStacks => "user-stacks",
        }
    }

    /// What is not to be had where the kernel allows no hook for it.
    #[must_use]
    pub const fn lost(self) -> &'static str {
        match self {
            Self::Transitions => "no transition can be seen",
            Self::Ends => "a socket would inherit the story of an earlier one at its address",
            Self::Accept => "accepted sockets stay under their listener's owner, and have no opening stack",
            Self::WaitingAccepts => {
                "the first socket of a thread that waits in `accept()` at the start stays under its listener's owner"
            }
            Self::EofReads => "`eof-read` is shown as `fin-consumed`, without the code that was told of the end",
            Self::SpliceReads => "where `splice()` was told of the end, `eof-read` is shown as `fin-consumed`",
            Self::Descriptors => "the owner and the holders of sockets that were open before are unknown",
            Self::Sockets => "sockets that were open before are unknown until they change state",
            Self::Threads => "where a leaking process's threads sleep is not shown",
            Self::Processes => "who listened and has exited is still named, and `--children` finds no new processes",
            Self::SocketIds => "sockets have no id",
            Self::Cgroups => "cgroups of sockets are unknown, and `--cgroup` matches none",
            Self::Registers | Self::UserStacks => "no stacks: leaks are shown without the code that opened them",
        }
    }

    /// Nothing works without it.
    #[must_use]
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Transitions | Self::Ends)
    }
}

/// Why the kernel did not let a hook be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Error number of the system call, where one failed.
    pub errno: Option<i32>,
    /// In one line.
    pub reason: String,
}

/// A hook that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookAttempt {
    /// Such as `fexit/inet_csk_accept`.
    pub hook: String,
    /// `None` when the kernel allows it.
    pub refused: Option<Refusal>,
}

/// The hooks that were tried for one purpose, the preferred one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleProbe {
    /// What they are for.
    pub role: Role,
    /// The first that is allowed is the one in use.
    pub attempts: Vec<HookAttempt>,
}

impl RoleProbe {
    /// The hook in use, if any.
    #[must_use]
    pub fn chosen(&self) -> Option<&str> {
        self.attempts.iter().find(|attempt| attempt.refused.is_none()).map(|attempt| attempt.hook.as_str())
    }
}

/// What a kernel allows. A trace tries the hooks that it needs, each role until one is allowed; `tcpstate probes` tries all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Lockdown mode (`none`, `integrity`, `confidentiality`); `None` where the kernel does not tell.
    pub lockdown: Option<String>,
    /// By role.
    pub roles: Vec<RoleProbe>,
}

impl Hooks {
    /// The hook in use for this, if any.
    #[must_use]
    pub fn chosen(&self, role: Role) -> Option<&str> {
        self.roles.iter().find(|probe| probe.role == role)?.chosen()
    }

    /// What was tried, and cannot be had on this kernel.
    pub fn missing(&self) -> impl Iterator<Item = Role> {
        self.roles.iter().filter(|probe| probe.chosen().is_none()).map(|probe| probe.role)
    }

    /// What is lost without it, each said once.
    #[must_use]
    pub fn lost(&self) -> Vec<&'static str> {
        let mut lost: Vec<_> = self.missing().map(Role::lost).collect();
        lost.dedup();
        lost
    }
}

/// What is attached to this kernel, and what the start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// The hooks that this trace needs.
    pub hooks: Hooks,
    /// Sockets of before the start that the snapshot found.
    pub snapshot_sockets: u64,
    /// Network namespaces that the snapshot visited.
    pub snapshot_netns: u32,
    /// Bytes of the ring buffer.
    pub buffer_bytes: u32,
}
