//! What the kernel and the user allow, as the host tells, and the hooks that can be had.

use tcpstate_core::model::doctor::Machine;

use crate::{
    host::{
        Host,
        kernel::{has_btf, lockdown, release},
        limits::Limits,
        mounts::has_tracefs,
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
        initial_pids: host.initial_pids,
        memlock,
        nofile,
        hooks: hooks.map_err(|error| format!("{error:#}")),
    }
}
