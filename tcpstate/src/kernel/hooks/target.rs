//! What a hook is tried on, and how.

use aya::{Btf, Ebpf};
use tcpstate_common::layout::Layout;

use super::super::{btf::KernelBtf, helpers::Helpers, refusal::Refused};

/// What hooks are tried on.
pub(in crate::kernel) struct HookTarget<'a> {
    pub(in crate::kernel) ebpf: &'a mut Ebpf,
    pub(in crate::kernel) btf: &'a Btf,
    pub(in crate::kernel) types: &'a KernelBtf,
    pub(in crate::kernel) layout: &'a Layout,
    pub(in crate::kernel) helpers: &'a Helpers,
    /// The programs of leak hunting are wanted, too.
    pub(in crate::kernel) hunting: bool,
    /// Processes are followed: those that they fork have to be seen.
    pub(in crate::kernel) following: bool,
    /// That which looks for sockets that wanted processes hold is wanted, too.
    pub(in crate::kernel) by_process: bool,
}

/// A way to fill a role.
pub(super) struct Candidate {
    pub(super) hook: &'static str,
    pub(super) attach: fn(&mut HookTarget<'_>) -> Result<(), Refused>,
    /// It is a substitute within the same programs, chosen when they are loaded: not to be tried where it is not needed.
    pub(super) substitute: bool,
}
