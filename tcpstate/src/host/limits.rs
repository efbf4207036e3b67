//! Resource limits of this process (getrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcpstate_core::model::doctor::Limit;

/// The limits that matter here, as they are now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `RLIMIT_MEMLOCK`, bytes.
    pub(crate) memlock: Limit,
    /// `RLIMIT_NOFILE`.
    pub(crate) nofile: Limit,
}

impl Limits {
    pub(crate) fn read() -> Self {
        let limit = |resource| {
            let limit = getrlimit(resource);
            Limit { soft: limit.current, hard: limit.maximum }
        };
        Self { memlock: limit(Resource::Memlock), nofile: limit(Resource::Nofile) }
    }
}

/// Lets this process open as many files as it may: stacks keep the files open that their code is in, and each process that is
/// followed is a descriptor. Best effort: what cannot be opened has no names.
pub(crate) fn raise_nofile() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Before 5.11 maps count against `RLIMIT_MEMLOCK`. Best effort: a map that does not fit says so itself.
pub(crate) fn raise_memlock() {
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}
