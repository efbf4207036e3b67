//! Builds tcpstate and becomes it, as root.

use std::{ffi::OsString, os::unix::process::CommandExt as _, slice};

use anyhow::Context as _;

use crate::{build, process, setup};

/// Sets up, builds as the user who asks for it, and replaces this process by tcpstate, run as root: signals reach it
/// directly, and its exit code is ours.
///
/// # Errors
///
/// A step failed. When all goes well this does not return.
pub(crate) fn task(args: &[OsString]) -> anyhow::Result<()> {
    setup::ensure(setup::Scope::BUILD)?;
    let binary = build::release("tcpstate")?;
    let mut command = process::as_root(binary.as_os_str());
    command.args(args);
    process::authorize(slice::from_ref(&command))?;
    let shown = process::display(&command);
    Err(command.exec()).with_context(|| format!("failed to run `{shown}`"))
}
