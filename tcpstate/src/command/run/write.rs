//! Where reports of a run go: standard error, and files that are begun before the command runs, so that what cannot be written
//! is known before. They take their names when they are complete: where there is nothing to report, what was there stays.

use std::{io, path::PathBuf};

use anyhow::{Context as _, Result};
use tcpstate_outfile::{OutfileError, OutputFile};

use crate::{
    host::{
        stderr::write_last,
        terminal::{columns, shows_colors},
    },
    report::{run::RunReport, run_json, run_junit, run_text::RunText},
    settings::run::RunSettings,
};

/// Files of `--junit` and `--report`.
pub(super) struct ReportFiles {
    junit: Option<ReportFile>,
    json: Option<ReportFile>,
}

struct ReportFile {
    output: OutputFile,
    path: PathBuf,
}

impl ReportFiles {
    pub(super) fn create(settings: &RunSettings) -> Result<Self> {
        let create = |path: &Option<PathBuf>| path.clone().map(ReportFile::create).transpose();
        Ok(Self { junit: create(&settings.junit)?, json: create(&settings.report)? })
    }

    /// Writes what can be written.
    ///
    /// # Errors
    ///
    /// The first, where something cannot.
    pub(super) fn write(self, report: &RunReport, code: u8) -> Result<()> {
        let write_junit = |file: ReportFile| file.write(|| Ok(run_junit::render(report)?.into_bytes()));
        let junit = self.junit.map_or(Ok(()), write_junit);
        if junit.is_err() && code == 0 {
            // The exit code will be another than the one that would stand in this.
            return junit;
        }
        let write_json = |file: ReportFile| file.write(|| Ok(run_json::render(report, code)?));
        junit.and(self.json.map_or(Ok(()), write_json))
    }
}

impl ReportFile {
    fn create(path: PathBuf) -> Result<Self> {
        let output = OutputFile::begin(&path)
            .map_err(OutfileError::without_path)
            .with_context(|| format!("failed to create the report `{}`", path.display()))?;
        Ok(Self { output, path })
    }

    fn write(self, render: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
        let written = render().and_then(|text| Ok(self.output.write(&text)?));
        written.with_context(|| format!("failed to write the report `{}`", self.path.display()))
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
        write_last(&out);
    }
}
