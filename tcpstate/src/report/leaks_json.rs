//! `tcpstate leaks -o json`: one object a report, as `schema/leaks-v1.schema.json` says.
//!
//! Names that others chose are escaped as in text output before they become JSON strings.

pub(super) mod body;
mod closed;
pub(super) mod group;
mod stack;

use std::io;

use super::{clock::WallClock, json::Line, leaks::LeakReport};

/// Version of the schema, in every object. Fields may be added within a version; a field that changes its meaning or goes
/// away makes a new one.
pub const SCHEMA: u32 = 1;

/// Renders reports of leaks as JSON lines.
#[derive(Debug)]
pub struct LeaksJson {
    clock: WallClock,
    line: Vec<u8>,
}

impl LeaksJson {
    /// A renderer with the wall time of the kernel's clock.
    #[must_use]
    pub fn new(clock: WallClock) -> Self {
        Self { clock, line: Vec::new() }
    }

    /// Writes a report.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn report(&mut self, out: &mut impl io::Write, report: &LeakReport) -> io::Result<()> {
        self.line.clear();
        let at = report.survey.now;
        serde_json::to_writer(&mut self.line, &Line::new(SCHEMA, "leaks", self.clock, at, body::report(report)))?;
        self.line.push(b'\n');
        out.write_all(&self.line)
    }
}
