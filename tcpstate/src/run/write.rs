//! Where reports of a run go: standard error, and files that are made before the command runs, so that what cannot be written
//! is known before.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{
    report::{run::RunReport, run_json, run_junit, run_text::RunText},
    settings::run::RunSettings,
};

/// Files of `--junit` and `--report`.
pub(super) struct Files {
    junit: Option<File>,
    json: Option<File>,
}

impl Files {
    pub(super) fn create(settings: &RunSettings) -> Result<Self> {
        let create = |path: Option<&Path>| {
            let create = |path: &Path| {
                File::create(path).with_context(|| format!("failed to create the report `{}`", path.display()))
            };
            path.map(create).transpose()
        };
        Ok(Self { junit: create(settings.junit.as_deref())?, json: create(settings.report.as_deref())? })
    }

    pub(super) fn write(&mut self, settings: &RunSettings, report: &RunReport, code: u8) -> Result<()> {
        if let Some((file, path)) = self.junit.as_mut().zip(settings.junit.as_ref()) {
            let written = run_junit::render(report).and_then(|text| Ok(file.write_all(text.as_bytes())?));
            written.with_context(|| format!("failed to write the report `{}`", path.display()))?;
        }
        if let Some((file, path)) = self.json.as_mut().zip(settings.report.as_ref()) {
            let written = run_json::render(report, code).map_err(io::Error::from);
            let written = written.and_then(|text| file.write_all(&text));
            written.with_context(|| format!("failed to write the report `{}`", path.display()))?;
        }
        Ok(())
    }
}

/// Writes the text to standard error. Who has closed that does not want it.
pub(super) fn text(settings: &RunSettings, report: &RunReport, code: u8) {
    let stderr = io::stderr();
    let set = |name| std::env::var_os(name).is_some_and(|value: std::ffi::OsString| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let terminal = stderr.is_terminal();
    let width = terminal.then(|| rustix::termios::tcgetwinsize(&stderr).ok()).flatten();
    let text = RunText {
        color: settings.color.unwrap_or(terminal && !set("NO_COLOR") && !dumb),
        width: width.map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0),
        top: settings.top,
    };
    let mut out = Vec::new();
    if text.report(&mut out, report, code).is_ok() {
        let _ = stderr.lock().write_all(&out);
    }
}
