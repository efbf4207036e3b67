//! What a process was started with and does not know of: descriptors, and words of its environment.

use std::{
    env, io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, getrlimit};

/// More descriptors than a process has that was executed by us.
const MANY: u32 = 1 << 20;

/// Words of the environment that have a panic look for lines of code in files.
const BACKTRACES: [&str; 2] = ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];

/// Has a panic say where it was and no more. To be called with one thread only.
pub(super) fn forget_backtraces() {
    for name in BACKTRACES {
        // SAFETY: no other thread reads the environment.
        unsafe { env::remove_var(name) };
    }
}

/// Closes all descriptors but the standard ones and the channel.
///
/// # Errors
///
/// Those of `close_range(2)`, but where it does not exist.
pub(super) fn close_others(channel: BorrowedFd<'_>) -> Result<()> {
    let channel = channel.as_raw_fd().unsigned_abs();
    let first = libc::STDERR_FILENO.unsigned_abs() + 1;
    if channel > first {
        close(first, channel - 1)?;
    }
    close(channel.max(first - 1) + 1, u32::MAX)
}

/// Both inclusive.
fn close(first: u32, last: u32) -> Result<()> {
    // SAFETY: this process was just executed, and owns no descriptor but those that are spared.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // Linux 5.9 has it; a container's filter from before then refuses what it does not know.
    if !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
        return Err(error).context("failed to close what this process was not given");
    }
    let most = getrlimit(Resource::Nofile).current.and_then(|most| u32::try_from(most).ok()).unwrap_or(MANY);
    for descriptor in first..=last.min(most.min(MANY)) {
        // SAFETY: as above.
        unsafe { libc::close(descriptor.cast_signed()) };
    }
    Ok(())
}
