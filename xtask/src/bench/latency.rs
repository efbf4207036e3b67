//! How soon a tracer shows something, while connections come and go a thousand times a second.

use std::{
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;

use super::{children::Running, programs::Programs, spread::Spread, tracer::Tracer};

/// What `leaks` shows first is a report, after an interval: here the shortest.
const INTERVAL: &str = "100ms";
/// The longest wait for a first event.
const LIMIT: Duration = Duration::from_secs(30);

/// From the start of a tracer to the first event on its standard output, a pipe; of `leaks`, to the first report.
#[derive(Debug, Serialize)]
pub(super) struct FirstEvent {
    pub(super) tracer: Tracer,
    /// Why it could not be measured.
    pub(super) refused: Option<String>,
    pub(super) ms: Option<Spread>,
}

/// Measures every tracer `rounds` times.
///
/// # Errors
///
/// Connections on loopback are not possible.
pub(super) fn measure(rounds: u32, programs: &Programs, idle: u32) -> Result<Vec<FirstEvent>> {
    let trickle = Trickle::start()?;
    let mut first = Vec::new();
    for tracer in Tracer::ALL.into_iter().filter(|tracer| !tracer.is_silent()) {
        eprintln!("    start to first event: {}", tracer.name());
        let readings: Result<Vec<f64>> = (0..rounds)
            .map(|_| {
                let mut command = tracer.command(programs, idle)?;
                if tracer == Tracer::Leaks {
                    command.args(["--interval", INTERVAL]);
                }
                Ok(first_event(tracer, command)?.as_secs_f64() * 1e3)
            })
            .collect();
        first.push(match readings {
            Ok(readings) => FirstEvent { tracer, refused: None, ms: Spread::of(readings) },
            Err(reason) => FirstEvent { tracer, refused: Some(format!("{reason:#}")), ms: None },
        });
    }
    trickle.stop()?;
    Ok(first)
}

fn first_event(tracer: Tracer, mut command: Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut running = Running::start(command)?;
    let mut output = BufReader::new(running.stdout()?);
    let (sender, shown) = mpsc::channel();
    thread::spawn(move || {
        let mut line = Vec::new();
        for _ in 0..=tracer.lines_ahead() {
            line.clear();
            if !matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
                return;
            }
        }
        // Nobody waits any more when it comes too late.
        let _ = sender.send(start.elapsed());
    });
    let took = shown.recv_timeout(LIMIT).context("shows no event")?;
    running.interrupt()?;
    Ok(took)
}

/// Connections of this process with itself.
struct Trickle {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<()>>,
}

impl Trickle {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let opened = TcpStream::connect(address)?;
                drop(listener.accept()?);
                drop(opened);
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the connections' thread panicked"))?
    }
}
