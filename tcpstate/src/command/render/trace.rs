//! Of what `trace` shows.

use std::io;

use tcpstate_core::model::{MonotonicNs, Transition, probes::Probes};

use crate::{
    cli::OutputFormat,
    report::{Summary, clock::TimeFormat, trace_json::TraceJson, trace_text::TraceText},
};

pub(crate) enum TraceRenderer {
    Text(TraceText),
    Json(TraceJson),
}

impl TraceRenderer {
    pub(crate) fn new(format: OutputFormat, time: TimeFormat, color: bool) -> Self {
        match format {
            OutputFormat::Json => Self::Json(TraceJson::new(time.clock)),
            OutputFormat::Text => Self::Text(TraceText::new(time, color)),
        }
    }

    pub(crate) fn start(&mut self, out: &mut Vec<u8>, at: MonotonicNs, probes: &Probes) -> io::Result<()> {
        match self {
            Self::Text(text) => text.header(out),
            Self::Json(json) => json.probes(out, at, probes),
        }
    }

    pub(crate) fn transition(&mut self, out: &mut Vec<u8>, transition: &Transition) -> io::Result<()> {
        match self {
            Self::Text(text) => text.transition(out, transition),
            Self::Json(json) => json.transition(out, transition),
        }
    }

    /// Text output has it on standard error, where it does not break the columns. A few are lost to neither buffer nor reader: a
    /// softirq that comes while the program for transitions is about to begin, or has just ended (`kernel::missed`).
    pub(crate) fn lost(&mut self, out: &mut Vec<u8>, at: MonotonicNs, lost: u64) -> io::Result<()> {
        tracing::warn!(
            "{lost} transitions lost so far: where the ring buffer is full, a larger `--buffer` or a filter helps"
        );
        match self {
            Self::Text(_) => Ok(()),
            Self::Json(json) => json.lost(out, at, lost),
        }
    }

    /// In JSON the summary is part of the stream; people find theirs on standard error.
    pub(crate) fn summary(&mut self, out: &mut Vec<u8>, at: MonotonicNs, summary: &Summary) -> io::Result<()> {
        match self {
            Self::Text(_) => Ok(()),
            Self::Json(json) => json.summary(out, at, summary),
        }
    }
}
