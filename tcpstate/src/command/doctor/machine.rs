//! What the kernel and the user allow, as the host tells, and the hooks that can be had.

use tcpstate_core::model::doctor::{Confinement, Machine};

use crate::{
    confinement::{self, Confined},
    host::{
        Host,
        kernel::{has_btf, lockdown, release},
        limits::Limits,
        mounts::has_tracefs,
        pids::Pids,
        preflight,
        privileges::Privileges,
    },
    kernel,
};

pub(super) fn read(host: &Host) -> Machine {
    let privileges = Privileges::read();
    // Before the hooks are tried, which raises one of them.
    let Limits { memlock, nofile } = Limits::read();
    let hooks = preflight::check_capabilities().and_then(|()| kernel::probe());
    Machine {
        kernel: release(),
        lockdown: lockdown(),
        uid: privileges.uid,
        capabilities: privileges.capabilities(),
        btf: has_btf(),
        tracefs: has_tracefs(),
        initial_pids: host.pids == Pids::Kernel,
        memlock,
        nofile,
        hooks: hooks.map_err(|error| format!("{error:#}")),
        sandbox: confinement::probe().map(sandbox).map_err(|error| format!("{error:#}")),
    }
}

fn sandbox(Confined { seccomp, landlock, stranger, rootless }: Confined) -> Confinement {
    Confinement { seccomp, landlock, stranger, rootless }
}
