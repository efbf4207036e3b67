//! The types of the running kernel.

use anyhow::{Context as _, Result};
use aya::{Btf, Endianness};
use tcpstate_common::layout::Layout;

use super::{btf::KernelBtf, hooks};
use crate::host::memory;

/// Read once.
pub(super) struct System {
    pub(super) types: KernelBtf,
    pub(super) layout: Layout,
    /// Those of them that aya has to find.
    pub(super) btf: Btf,
}

impl System {
    pub(super) fn read() -> Result<Self> {
        memory::keep();
        let types = KernelBtf::load(&hooks::FUNCTIONS)?;
        let layout = types.layout()?;
        let btf = Btf::parse(&types.attach_points(), Endianness::default());
        let btf = btf.context("kernel BTF is malformed")?;
        Ok(Self { types, layout, btf })
    }
}
