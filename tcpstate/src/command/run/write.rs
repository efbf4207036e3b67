//! Where reports of a run go: standard error, and files that are made before the command runs, so that what cannot be written
//! is known before, and removed where there is nothing to report.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use crate::{
    host::terminal::{columns, shows_colors},
    report::{run::RunReport, run_json, run_junit, run_text::RunText},
    settings::run::RunSettings,
};

/// Files of `--junit` and `--report`.
pub(super) struct ReportFiles {
    junit: Option<ReportFile>,
    json: Option<ReportFile>,
}

/// A file that is removed again unless a report is written to it: whoever collects reports would stumble over an empty one.
struct ReportFile {
    file: File,
    path: PathBuf,
    written: bool,
}

impl ReportFiles {
    pub(super) fn create(settings: &RunSettings) -> Result<Self> {
        let create = |path: &Option<PathBuf>| path.clone().map(ReportFile::create).transpose();
        Ok(Self { junit: create(&settings.junit)?, json: create(&settings.report)? })
    }

    pub(super) fn write(&mut self, report: &RunReport, code: u8) -> Result<()> {
        if let Some(file) = &mut self.junit {
            file.write(|| Ok(run_junit::render(report)?.into_bytes()))?;
        }
        if let Some(file) = &mut self.json {
            file.write(|| Ok(run_json::render(report, code)?))?;
        }
        Ok(())
    }
}

impl ReportFile {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("failed to create the report `{}`", path.display()))?;
        Ok(Self { file, path, written: false })
    }

    fn write(&mut self, render: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
        let written = render().and_then(|text| Ok(self.file.write_all(&text)?));
        self.written = written.is_ok();
        written.with_context(|| format!("failed to write the report `{}`", self.path.display()))
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        // A device, a pipe or a link is not ours to remove.
        if !self.written && fs::symlink_metadata(&self.path).is_ok_and(|file| file.is_file()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes the text to standard error. Who has closed that does not want it.
pub(super) fn text(settings: &RunSettings, report: &RunReport, code: u8) {
    let stderr = io::stderr();
    let text = RunText {
        color: settings.color.unwrap_or_else(|| shows_colors(&stderr)),
        width: columns(&stderr),
        top: settings.top,
    };
    let mut out = Vec::new();
    if text.report(&mut out, report, code).is_ok() {
        let _ = stderr.lock().write_all(&out);
    }
}
