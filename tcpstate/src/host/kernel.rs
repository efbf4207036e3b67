//! What the running kernel says of itself, apart from its types.

use std::{fs, path::Path};

use super::mounts::with_securityfs;

/// Where the kernel shows its types (`CONFIG_DEBUG_INFO_BTF`).
pub(crate) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// `uname -r`.
pub(crate) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The lockdown mode (`kernel_lockdown(7)`), where the kernel has it and lets it be read.
pub(crate) fn lockdown() -> Option<String> {
    let modes = with_securityfs(|| fs::read_to_string("/sys/kernel/security/lockdown")).ok()?.ok()?;
    selected(&modes).map(str::to_owned)
}

/// Whether the kernel shows its types.
pub(crate) fn has_btf() -> bool {
    Path::new(VMLINUX).exists()
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
