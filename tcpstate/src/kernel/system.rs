//! What the running kernel says of itself.

use std::fs;

use anyhow::{Context as _, Result};
use aya::{Btf, Endianness};
use tcpstate_common::layout::Layout;

use super::{btf::KernelBtf, hooks};
use crate::host::{memory, namespaces::with_securityfs};

/// Its types, read once.
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

/// `uname -r`.
pub(crate) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The lockdown mode (`kernel_lockdown(7)`), where the kernel has it and lets it be read.
pub(crate) fn lockdown() -> Option<String> {
    let modes = with_securityfs(|| fs::read_to_string("/sys/kernel/security/lockdown")).ok()?.ok()?;
    selected(&modes).map(str::to_owned)
}

/// The word in brackets.
fn selected(modes: &str) -> Option<&str> {
    modes.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::selected;

    #[test]
    fn lockdown_mode_is_the_one_in_brackets() {
        assert_eq!(selected("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(selected(""), None);
    }
}
