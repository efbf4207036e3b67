//! `tcpstate probes`: every hook tried, nothing traced.

use anyhow::Result;
use bytemuck::Zeroable as _;
use tcpstate_common::config::{Config, STACK_PIECE, filter};
use tcpstate_core::model::probes::{Hooks, Role};

use super::{
    hooks::{self, HookTarget, Search},
    loader,
    system::System,
};
use crate::host::{
    kernel::{lockdown, release},
    limits,
};

/// The smallest ring buffer.
const PAGE: u32 = 4096;

/// Attaches every hook for a moment and says what the kernel made of it. Records never flow, and what is attached goes with it.
///
/// # Errors
///
/// When the kernel has no BTF, or refuses the maps.
pub fn probe() -> Result<Hooks> {
    let system = System::read()?;
    limits::raise_memlock();
    // All that a hunt and a followed process need has to pass the verifier, too. No stack is copied meanwhile.
    let config = Config {
        filters: filter::LEAKS | filter::PID | filter::CHILDREN,
        stack_bytes: STACK_PIECE,
        ..Config::zeroed()
    };
    let sizes = loader::Sizes { buffer_bytes: PAGE, stacks_bytes: PAGE, sockets: 1 };
    let loader::Loaded { mut ebpf, helpers } = loader::load(&system.btf, &config, &system.layout, &sizes, 0)?;
    let mut target = HookTarget {
        ebpf: &mut ebpf,
        btf: &system.btf,
        types: &system.types,
        layout: &system.layout,
        helpers: &helpers,
        hunting: true,
        following: true,
        by_process: true,
    };
    let roles = Role::ALL.into_iter().map(|role| hooks::attach(&mut target, role, Search::All)).collect();
    Ok(Hooks { kernel: release(), lockdown: lockdown(), roles })
}
