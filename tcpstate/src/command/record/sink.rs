//! The file, on a thread of its own: to compress and to wait for a disk must not keep anybody from emptying the ring buffer.
//!
//! What waits to be written has a bound. Beyond it nothing more is taken from the kernel, whose ring buffer then fills, and what
//! finds it full is counted there: losses are told of as always, and memory does not grow.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tcpstate_core::model::event::Event;
use tcpstate_recording::{Content, EVENTS_IN_A_FRAME, Frames, Writer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// What may wait to be written, KiB.
const ROOM: usize = 64 << 10;

/// The way to the file.
pub(super) struct Sink {
    jobs: mpsc::UnboundedSender<Job>,
    /// Room where nothing waits, KiB, and what is left of it.
    most: usize,
    room: Arc<Semaphore>,
    progress: Arc<Progress>,
    done: Option<oneshot::Receiver<io::Result<Written>>>,
    /// Events that wait for [`Sink::flush`].
    events: Vec<Event>,
    /// Files that were begun after the first, as far as they were asked for.
    rotated: u32,
    /// How long there was no room, all in all.
    waited: Duration,
}

/// What was written in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// How many files.
    pub(super) files: u32,
}

/// How far the thread is.
#[derive(Default)]
struct Progress {
    full: AtomicBool,
    rotated: AtomicU32,
}

struct Job {
    what: What,
    /// Given back when it is written.
    _room: OwnedSemaphorePermit,
}

enum What {
    Content(Content),
    Frames(Frames),
    Rotate,
    Sync,
}

impl Sink {
    pub(super) fn start(writer: Writer) -> Result<Self> {
        Self::with_room(writer, ROOM)
    }

    /// For what waits there is room for so many KiB.
    fn with_room(writer: Writer, most: usize) -> Result<Self> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let (tell, done) = oneshot::channel();
        let (room, progress) = (Arc::new(Semaphore::new(most)), Arc::new(Progress::default()));
        let (room_of_thread, progress_of_thread) = (Arc::clone(&room), Arc::clone(&progress));
        let work = move || {
            let result = write(writer, waiting, &progress_of_thread);
            // Nobody waits for room that will not come.
            room_of_thread.close();
            let _ = tell.send(result);
        };
        thread::Builder::new()
            .name("tcpstate-file".into())
            .spawn(work)
            .context("failed to start the thread that writes the recording")?;
        Ok(Self {
            jobs,
            most,
            room,
            progress,
            done: Some(done),
            events: Vec::new(),
            rotated: 0,
            waited: Duration::ZERO,
        })
    }

    /// Keeps an event until [`Sink::flush`]; returns whether a frame is full.
    pub(super) fn event(&mut self, event: Event) -> bool {
        self.events.push(event);
        self.events.len() >= EVENTS_IN_A_FRAME
    }

    /// Has the events that wait written.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.events.is_empty() {
            return Ok(());
        }
        let events = std::mem::take(&mut self.events);
        let bytes = events.len() * size_of::<Event>();
        self.write(bytes, Content::Events(events)).await
    }

    /// Has a content written, before the events that wait; it takes about so many bytes until then.
    pub(super) async fn write(&mut self, bytes: usize, content: Content) -> Result<()> {
        self.send(bytes, What::Content(content)).await
    }

    /// Has frames written that are whole already, before the events that wait.
    pub(super) async fn frames(&mut self, frames: Frames) -> Result<()> {
        self.send(frames.bytes().len(), What::Frames(frames)).await
    }

    /// Goes on in another file, which the caller begins.
    pub(super) async fn rotate(&mut self) -> Result<()> {
        self.rotated += 1;
        self.send(0, What::Rotate).await
    }

    /// Has the file brought to the disk.
    pub(super) async fn sync(&mut self) -> Result<()> {
        self.send(0, What::Sync).await
    }

    /// Whether the file is as long as it may be.
    pub(super) fn is_full(&self) -> bool {
        self.progress.full.load(Ordering::Acquire) && self.progress.rotated.load(Ordering::Acquire) == self.rotated
    }

    /// Files that were begun after the first.
    pub(super) fn rotated(&self) -> u32 {
        self.rotated
    }

    /// How long nothing was taken from the kernel because the file was behind.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) -> Result<Written> {
        let Self { jobs, done, .. } = self;
        drop(jobs);
        outcome(done).await
    }

    async fn send(&mut self, bytes: usize, what: What) -> Result<()> {
        let kib = u32::try_from((bytes >> 10).clamp(1, self.most))?;
        let began = Instant::now();
        let permit = match Arc::clone(&self.room).try_acquire_many_owned(kib) {
            Ok(permit) => Ok(permit),
            Err(_) => {
                let permit = Arc::clone(&self.room).acquire_many_owned(kib).await;
                self.waited += began.elapsed();
                permit
            }
        };
        if let Ok(room) = permit
            && self.jobs.send(Job { what, _room: room }).is_ok()
        {
            return Ok(());
        }
        outcome(self.done.take()).await?;
        bail!(ENDED)
    }
}

const FAILED: &str = "failed to write the recording";
const ENDED: &str = "the thread that writes the recording ended";

/// How it went, which is told once.
async fn outcome(done: Option<oneshot::Receiver<io::Result<Written>>>) -> Result<Written> {
    done.context(ENDED)?.await.context(ENDED)?.context(FAILED)
}

fn write(mut writer: Writer, mut jobs: mpsc::UnboundedReceiver<Job>, progress: &Progress) -> io::Result<Written> {
    while let Some(Job { what, _room }) = jobs.blocking_recv() {
        match what {
            What::Content(content) => writer.write(content)?,
            What::Frames(frames) => writer.write_frames(&frames)?,
            What::Rotate => writer.rotate().map_err(|error| named("failed to begin another file", &error))?,
            What::Sync => writer.sync().map_err(|error| named("failed to bring it to the disk", &error))?,
        }
        // In this order: who reads that another file was begun must not read that the one before was full.
        progress.full.store(writer.is_full(), Ordering::Release);
        progress.rotated.store(writer.rotated(), Ordering::Release);
    }
    Ok(Written { bytes: writer.written(), files: writer.rotated() + 1 })
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, path::Path, process::Command};

    use tcpstate_core::model::{MonotonicNs, Totals};
    use tcpstate_recording::{Counts, Reader, Rotation};

    use super::*;

    fn counts(at: u64) -> Content {
        Content::Counts(Counts { at: MonotonicNs(at), totals: Totals::default() })
    }

    /// A pipe, and who reads it.
    fn pipe(directory: &Path) -> (Writer, File) {
        let path = directory.join("fifo");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        let reader = thread::spawn({
            let path = path.clone();
            move || File::open(path).expect("the other end")
        });
        let writer = Writer::create(&path, true, None).expect("our end");
        (writer, reader.join().expect("opened"))
    }

    /// As a disk that does not take anything for a while: what waits has a bound, and nothing of it is lost.
    #[tokio::test]
    async fn what_waits_is_bounded() {
        let directory = tempfile::tempdir().expect("a directory");
        let (writer, mut reading) = pipe(directory.path());
        let mut sink = Sink::with_room(writer, 256).expect("a thread");
        let mut sent = 0;
        // Each takes a quarter of the room, and the pipe 64 KiB of small frames.
        loop {
            let send = sink.write(64 << 10, counts(sent));
            match tokio::time::timeout(Duration::from_millis(500), send).await {
                Ok(result) => result.expect("room"),
                Err(_) => break,
            }
            sent += 1;
            assert!(sent < 100_000, "nothing waits");
        }
        let rest = thread::spawn(move || {
            let mut bytes = Vec::new();
            reading.read_to_end(&mut bytes).map(|_| bytes)
        });
        sink.write(64 << 10, counts(sent)).await.expect("room again");
        assert!(sink.waited() > Duration::ZERO);
        let written = sink.finish().await.expect("written");
        let bytes = rest.join().expect("read").expect("read");
        assert_eq!((bytes.len() as u64, written.files), (written.bytes, 1));
        let mut reader = Reader::new(&bytes[..]).expect("a recording");
        for at in 0..=sent {
            assert_eq!(reader.frame().expect("whole"), Some(counts(at)));
        }
        assert_eq!(reader.frame().expect("whole"), None);
    }

    /// Who writes hears of it, and nobody waits for room that does not come.
    #[tokio::test]
    async fn a_failed_write_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let (writer, reading) = pipe(directory.path());
        drop(reading);
        let mut sink = Sink::with_room(writer, 1).expect("a thread");
        let mut error = None;
        for at in 0..3 {
            error = error.or(sink.write(0, counts(at)).await.err());
            if error.is_some() {
                break;
            }
        }
        let error = error.expect("it is told");
        assert_eq!(format!("{error:#}"), "failed to write the recording: Broken pipe (os error 32)");
    }

    /// A file is full once, also while the next one is not begun yet.
    #[tokio::test]
    async fn a_full_file_is_left_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.tcps");
        let rotation = Rotation { max_size: 100, max_files: None };
        let writer = Writer::create(&path, true, Some(rotation)).expect("a file");
        let mut sink = Sink::start(writer).expect("a thread");
        while !sink.is_full() {
            sink.write(0, counts(1)).await.expect("disk");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sink.rotate().await.expect("disk");
        for _ in 0..100 {
            assert!(!sink.is_full());
            thread::sleep(Duration::from_micros(100));
        }
        assert_eq!(sink.finish().await.expect("written").files, 2);
        assert!(directory.path().join("a.tcps.1").exists());
    }
}
