//! The file, read and decoded on a thread of its own while what came before is shown.

use std::{
    fs::File,
    io::BufReader,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tcpstate_core::model::MonotonicNs;
use tcpstate_recording::{Content, FrameKind, ReadError, Reader};

use crate::report::escape::Escaped;

/// Frames that are decoded ahead.
const AHEAD: usize = 4;

/// What its frames say, in order.
pub(super) struct Contents {
    path: PathBuf,
    read: mpsc::Receiver<Result<Content, ReadError>>,
    skipped: Arc<AtomicU64>,
    progress: ProgressBar,
}

impl Contents {
    /// Opens a recording, of which frames of some kinds are not decoded.
    ///
    /// # Errors
    ///
    /// When it is none, or cannot be read.
    pub(super) fn open(path: &Path, progress: bool, unwanted: &[FrameKind]) -> Result<Self> {
        let failed = || format!("failed to read {}", named(path));
        let file = File::open(path).with_context(failed)?;
        let length = file.metadata().with_context(failed)?.len();
        let progress = if progress { bar(length) } else { ProgressBar::hidden() };
        let input = BufReader::with_capacity(1 << 20, progress.wrap_read(file));
        let reader = Reader::new(input).map_err(|error| match error {
            ReadError::Io(error) => anyhow::Error::from(error).context(failed()),
            other => anyhow::anyhow!("{}: {other}", named(path)),
        })?;
        let mut reader = reader.without(unwanted);
        let (sender, read) = mpsc::sync_channel(AHEAD);
        let skipped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&skipped);
        let work = move || {
            loop {
                let next = reader.frame().transpose();
                counter.store(reader.skipped(), Ordering::Relaxed);
                let Some(content) = next else { return };
                let failed = content.is_err();
                if sender.send(content).is_err() || failed {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("tcpstate-in".into())
            .spawn(work)
            .context("failed to start the thread that reads the recording")?;
        Ok(Self { path: path.to_owned(), read, skipped, progress })
    }

    /// What the next frame says; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Content>, ReadError> {
        self.read.recv().ok().transpose()
    }

    /// Frames of a later program's kinds.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the progress bar away.
    pub(super) fn finish(&self) {
        self.progress.finish_and_clear();
    }
}

/// The last moment of which a recording tells, to about a second. `None` of what can be read only once, such as a pipe.
pub(super) fn end(path: &Path) -> Option<MonotonicNs> {
    let file = File::open(path).ok().filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()))?;
    let reader = Reader::new(BufReader::with_capacity(1 << 20, file)).ok()?;
    // Counts come every second; nothing else need be decoded.
    let undated = FrameKind::ALL.into_iter().filter(|kind| !matches!(kind, FrameKind::Counts | FrameKind::End));
    let mut reader = reader.without(&undated.collect::<Vec<_>>());
    let mut end = None;
    // Up to where it is cut off or damaged, as it will be shown.
    while let Ok(Some(content)) = reader.frame() {
        end = match content {
            Content::Counts(counts) => Some(counts.at),
            Content::End(ended) => Some(ended.at),
            _ => end,
        }
        .max(end);
    }
    end
}

fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The name of a file as messages show it.
pub(super) fn named(path: &Path) -> String {
    format!("`{}`", Escaped(path.as_os_str().as_bytes()))
}
