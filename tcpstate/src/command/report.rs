//! `tcpstate report`: a recording through the aggregators and renderers of `leaks`, `trace` and `states`.

mod contents;
mod kept_stacks;
mod leaks;
mod replay;
mod states;
mod trace;
mod wanted;

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use anyhow::Result;
use tcpstate_recording::FrameKind;

use self::{contents::Contents, replay::Replay};
use crate::{
    cli::Show,
    session::{is_broken_pipe, stdout::Stdout},
    settings::report::ReportSettings,
};

/// Runs the command to its end.
///
/// # Errors
///
/// When the file is no recording, or the output cannot be written; a closed pipe is no error. A recording that is cut off or
/// damaged is none either: what comes before is shown, and that there is no more is said.
pub fn run(settings: &ReportSettings) -> Result<()> {
    match show(settings) {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

fn show(settings: &ReportSettings) -> Result<()> {
    // A progress bar would stand in the midst of columns.
    let progress = io::stderr().is_terminal() && !(settings.show == Show::Trace && io::stdout().is_terminal());
    let mut contents = Contents::open(&settings.file, progress, unwanted(settings.show))?;
    let mut replay = Replay::begin(settings, &mut contents)?;
    let mut out = BufWriter::with_capacity(1 << 20, Stdout);
    match settings.show {
        Show::Leaks => leaks::show(&mut replay, &mut contents, &mut out)?,
        Show::Trace | Show::Summary => trace::show(&mut replay, &mut contents, &mut out)?,
        Show::States => states::show(&mut replay, &mut contents, &mut out)?,
    }
    out.flush()?;
    Ok(())
}

/// Frames that need not be decoded.
fn unwanted(show: Show) -> &'static [FrameKind] {
    match show {
        Show::Leaks => &[FrameKind::CensusPart, FrameKind::CensusGaps, FrameKind::Census],
        Show::Trace | Show::Summary => &[
            FrameKind::Sockets,
            FrameKind::Traffic,
            FrameKind::Activities,
            FrameKind::Stacks,
            FrameKind::CensusPart,
            FrameKind::CensusGaps,
            FrameKind::Census,
        ],
        Show::States => &[
            FrameKind::Events,
            FrameKind::Sockets,
            FrameKind::Traffic,
            FrameKind::Activities,
            FrameKind::Checkpoint,
            FrameKind::Stacks,
        ],
    }
}
