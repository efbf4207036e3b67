//! `tcpstate doctor`: facts gathered, judged, written.

mod gather;
mod machine;

use std::io::Write as _;

use anyhow::{Result, bail};
use tcpstate_core::aggregate::doctor::diagnose;

use crate::{
    cli::OutputFormat,
    host::Host,
    report::{doctor_json, doctor_text::DoctorText},
    session::{is_broken_pipe, pages::Pages, stdout::Stdout},
    settings::doctor::DoctorSettings,
};

/// Runs the command.
///
/// # Errors
///
/// When the sockets cannot be listed, when nothing can be traced here (after the report is written), or the output cannot be
/// written, but for a closed pipe.
pub fn run(settings: &DoctorSettings, host: &Host) -> Result<()> {
    let facts = gather::facts(settings, host)?;
    let diagnosis = diagnose(&facts);
    let mut out = Vec::new();
    match settings.output {
        OutputFormat::Text => {
            DoctorText { color: settings.color, width: Pages::width() }.write(&mut out, &facts, &diagnosis)?;
        }
        OutputFormat::Json => doctor_json::write(&mut out, &facts, &diagnosis)?,
    }
    match Stdout.write_all(&out).map_err(anyhow::Error::from) {
        Err(error) if !is_broken_pipe(&error) => return Err(error),
        _ => {}
    }
    match diagnosis.cannot_trace {
        Some(why) => bail!("tcpstate cannot trace here: {why}"),
        None => Ok(()),
    }
}
