//! Whether this user may trace, checked before anything is attached, so that the kernel's bare `EPERM` is never the answer.

use anyhow::{Context as _, Result, bail};

use super::{limits::Limits, privileges::Privileges};

/// Maps, programs, their links, and what a snapshot opens, some 70; and room for files whose code is named.
const DESCRIPTORS: u64 = 128;

/// Makes sure that the process has the capabilities that tracing needs.
///
/// # Errors
///
/// Names the capabilities that are missing, what each is for, and how to get them.
pub(crate) fn check_capabilities() -> Result<()> {
    let privileges = Privileges::read();
    if !privileges.in_initial_user_namespace {
        bail!(
            "no capability counts for BPF in a user namespace other than the host's (`/proc/self/ns/user`): run it on the host, \
             outside of `unshare --user` and of rootless containers"
        );
    }
    let missing = privileges.missing().context("failed to read the capabilities of this process")?;
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = missing.iter().map(|missing| format!("`{}` ({})", missing.name, missing.purpose)).collect();
    let list = list.join(" and ");
    let hint = if privileges.uid == 0 {
        "root without them is usual in containers: start it with `--privileged` or on the host"
    } else {
        "run it with sudo"
    };
    bail!("missing capability {list}: {hint}")
}

/// Makes sure that this process may open what tcpstate itself takes. To be called before there is a runtime, which panics where it
/// cannot.
///
/// # Errors
///
/// Names the limit and how to raise it.
pub fn check_descriptor_limit() -> Result<()> {
    match Limits::read().nofile.hard {
        Some(most) if most < DESCRIPTORS => bail!(
            "this process may open only {most} files, and tcpstate takes up to {DESCRIPTORS} for itself: raise the limit, as with \
             `ulimit -n 1024`"
        ),
        _ => Ok(()),
    }
}
