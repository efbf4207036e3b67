//! Standard output on a thread of its own: a reader that is slow or has stopped must not keep us from signals, nor from
//! counting what is lost meanwhile.

use std::{
    io::{self, Write},
    sync::mpsc as sync,
    thread,
};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

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
}

impl Output {
    pub(crate) fn start(mut out: impl Write + Send + 'static) -> Result<Self> {
        let (full, to_write) = sync::channel::<Vec<u8>>();
        let (written, empty) = mpsc::unbounded_channel();
        let work = move || {
            for mut buffer in to_write {
                let result = out.write_all(&buffer).and_then(|()| out.flush());
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
        Ok(Self { full, empty, spare: (0..BUFFERS).map(|_| Vec::new()).collect(), writing: 0 })
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
