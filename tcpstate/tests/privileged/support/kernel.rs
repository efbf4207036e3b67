//! Which kernel this is.

use std::fs;

/// Whether it is of this version or a later one.
pub(crate) fn is_at_least(major: u32, minor: u32) -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// Whether nothing reads the memory of others through it (`kernel_lockdown(7)`), and so there are no stacks of calls.
pub(crate) fn is_confidential() -> bool {
    // Not there, or not mounted, where the kernel cannot be locked down.
    fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|modes| modes.contains("[confidentiality]"))
}

/// Whether this is a guest with an emulated processor: who starts it tells its kernel (`xtask/src/vm/qemu.rs`).
pub(crate) fn is_emulated() -> bool {
    fs::read_to_string("/proc/cmdline")
        .is_ok_and(|line| line.split_whitespace().any(|word| word == "tcpstate.emulated"))
}
