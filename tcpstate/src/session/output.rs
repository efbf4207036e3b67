//! Standard output on a thread of its own: a reader that is slow or has stopped must not keep us from signals, nor from
//! counting what is lost meanwhile.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError, mpsc as sync},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{sync::mpsc, time::sleep};

use super::stdout::{self, Stdout};

/// Buffers in circulation: one is filled while the other is written. A third would only be more to throw away.
const BUFFERS: usize = 2;

/// Writes buffers in order.
pub(crate) struct Output {
    full: sync::Sender<Vec<u8>>,
    empty: mpsc::UnboundedReceiver<io::Result<Vec<u8>>>,
    /// Buffers here that are neither being filled nor written.
    spare: Vec<Vec<u8>>,
    /// Buffers with the writer.
    writing: usize,
    progress: Progress,
}

/// Whether what is written is taken.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    /// Since when the writer has been in its latest write; `None` between two.
    since: Arc<Mutex<Option<Instant>>>,
}

impl Output {
    /// To standard output.
    ///
    /// # Errors
    ///
    /// It is closed, or there can be no more threads.
    pub(crate) fn to_stdout() -> Result<Self> {
        stdout::check()?;
        Self::start(Stdout, stdout::part())
    }

    /// Writes `part` bytes at a time: whoever takes so many within the patience of [`Progress::stalls()`] does read.
    fn start(mut out: impl Write + Send + 'static, part: usize) -> Result<Self> {
        let (full, to_write) = sync::channel::<Vec<u8>>();
        let (written, empty) = mpsc::unbounded_channel();
        let progress = Progress::default();
        let told = progress.clone();
        let work = move || {
            for mut buffer in to_write {
                let mut write = |part: &[u8]| told.during(|| out.write_all(part));
                let result = buffer.chunks(part).try_for_each(&mut write).and_then(|()| told.during(|| out.flush()));
                buffer.clear();
                if written.send(result.map(|()| buffer)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("tcpstate-out".into())
            .spawn(work)
            .context("failed to start the output's thread")?;
        Ok(Self { full, empty, spare: (0..BUFFERS).map(|_| Vec::new()).collect(), writing: 0, progress })
    }

    /// An empty buffer, as soon as there is one; cancellation-safe.
    ///
    /// # Errors
    ///
    /// That of an earlier write.
    pub(crate) async fn buffer(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(buffer) = self.try_buffer()? {
                return Ok(buffer);
            }
            self.wait().await?;
        }
    }

    /// An empty buffer, if there is one now.
    ///
    /// # Errors
    ///
    /// That of an earlier write.
    pub(crate) fn try_buffer(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Ok(written) = self.empty.try_recv() {
            self.take_back(written)?;
        }
        Ok(self.spare.pop())
    }

    /// Has a buffer written after those before it.
    pub(crate) fn write(&mut self, buffer: Vec<u8>) -> io::Result<()> {
        if buffer.is_empty() {
            self.spare.push(buffer);
            return Ok(());
        }
        self.full.send(buffer).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.writing += 1;
        Ok(())
    }

    /// How the writing goes on.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Waits until everything is written; cancellation-safe.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        while self.writing > 0 {
            self.wait().await?;
        }
        Ok(())
    }

    async fn wait(&mut self) -> io::Result<()> {
        let written = self.empty.recv().await.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()));
        self.take_back(written)
    }

    fn take_back(&mut self, written: io::Result<Vec<u8>>) -> io::Result<()> {
        self.writing -= 1;
        self.spare.push(written?);
        Ok(())
    }
}

impl Progress {
    /// Comes when, from now on, nothing is taken for so long that was to be written; cancellation-safe.
    pub(crate) async fn stalls(&self, patience: Duration) {
        let asked = Instant::now();
        loop {
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = since.map_or(Duration::ZERO, |since| since.max(asked).elapsed());
            if waited >= patience {
                return;
            }
            sleep(patience - waited).await;
        }
    }

    fn during<T>(&self, write: impl FnOnce() -> T) -> T {
        let set = |since| *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
        set(Some(Instant::now()));
        let written = write();
        set(None);
        written
    }
}

#[cfg(test)]
mod tests {
    use tokio::{runtime, time::timeout};

    use super::*;

    const PART: usize = 16 << 10;

    /// Takes so many bytes at a time, and waits before each of them.
    struct Slow(usize, Duration);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            thread::sleep(self.1);
            Ok(bytes.len().min(self.0))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Whether so many bytes are written before they are taken to stall.
    fn written(bytes: usize, slow: Slow, patience: Duration) -> bool {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let result = runtime.block_on(async {
            let mut output = Output::start(slow, PART).expect("a thread");
            let progress = output.progress();
            assert!(timeout(2 * patience, progress.stalls(patience)).await.is_err(), "there is nothing to write");
            output.write(vec![0; bytes]).expect("a writer");
            tokio::select! {
                finished = output.finish() => finished.map(|()| true),
                () = progress.stalls(patience) => Ok(false),
            }
        });
        result.expect("nothing fails")
    }

    #[test]
    fn slow_is_not_stalled() {
        // A second in all.
        assert!(written(50 * PART, Slow(PART, Duration::from_millis(20)), Duration::from_millis(400)));
        assert!(!written(PART, Slow(PART, Duration::from_secs(5)), Duration::from_millis(100)));
    }
}
