//! `tcpstate probes`: what this kernel allows.

use std::io::Write as _;

use anyhow::{Result, bail};

use crate::{
    cli::OutputFormat,
    host::preflight,
    kernel,
    report::{probes_json, probes_text},
    session::{is_broken_pipe, stdout::Stdout},
};

/// Runs the command.
///
/// # Errors
///
/// When the kernel cannot be asked, or does not allow what nothing works without; or the output cannot be written, but for a
/// closed pipe.
pub fn run(format: OutputFormat) -> Result<()> {
    preflight::check_capabilities()?;
    let hooks = kernel::probe()?;
    let mut out = Vec::new();
    match format {
        OutputFormat::Text => probes_text::write(&mut out, &hooks)?,
        OutputFormat::Json => probes_json::write(&mut out, &hooks)?,
    }
    match Stdout.write_all(&out).map_err(anyhow::Error::from) {
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        written => written?,
    }
    if let Some(role) = hooks.missing().find(|role| role.is_required()) {
        bail!("kernel {} allows no hook for `{}`: {}", hooks.kernel, role.name(), role.lost());
    }
    Ok(())
}
