//! Everything that a tracer wrote, as it comes; kept where a failing test can show it.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{
    clock,
    event::{Line, Summary, Transition},
    tracer::PATIENCE,
};

/// The transcripts of the test that is running.
static OF_THIS_TEST: Mutex<Vec<Transcript>> = Mutex::new(Vec::new());

/// How long a tracer may be behind.
const MOST_PATIENCE: Duration = Duration::from_secs(45);
/// How long it may be silent until it is not taken to be behind.
const SILENCE: Duration = Duration::from_secs(1);
/// More transitions than a test makes itself.
const MANY: usize = 5000;
const PAUSE: Duration = Duration::from_millis(10);

/// How many lines of a transcript a failing test prints.
const PRINTED: usize = 150;

/// A tracer's output, growing until the tracer ends.
#[derive(Clone)]
pub(crate) struct Transcript {
    shared: Arc<(Mutex<Said>, Condvar)>,
}

#[derive(Default)]
pub(crate) struct Said {
    arguments: String,
    json: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Streams that have not ended.
    open: usize,
    error: Option<anyhow::Error>,
    probes: Option<Value>,
    transitions: Vec<Transition>,
    /// By id: the cookie, and which transitions were shown without one.
    sockets: HashMap<u64, (Option<u64>, Vec<usize>)>,
    /// `CLOCK_MONOTONIC` when the line of each transition was read.
    read_at_ns: Vec<u64>,
    summary: Option<Summary>,
}

impl Said {
    pub(crate) fn probes(&self) -> Option<&Value> {
        self.probes.as_ref()
    }

    pub(crate) fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    pub(crate) fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    pub(crate) fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// Whether what is read now happened before a moment, and more of it comes.
    fn is_behind(&self, moment_ns: u64) -> bool {
        let last = self.transitions.last().zip(self.read_at_ns.last());
        last.is_some_and(|(last, &read_at)| last.mono_ns < moment_ns && clock::since_ns(read_at) < SILENCE)
    }

    fn take_stdout(&mut self, line: &[u8]) {
        self.stdout.extend_from_slice(line);
        if self.json && self.error.is_none() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            self.error = self.take_line(line).err();
        }
    }

    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        let text = str::from_utf8(line).context("standard output is not UTF-8")?;
        ensure!(self.summary.is_none(), "the summary was not the last line");
        match Line::parse(text)? {
            Line::Probes(probes) => {
                ensure!(self.probes.is_none() && self.transitions.is_empty(), "probes was not the first line");
                self.probes = Some(probes);
            }
            Line::Transition(transition) => {
                ensure!(self.probes.is_some(), "a transition before the probes line");
                self.transitions.push(*transition);
                self.read_at_ns.push(clock::monotonic_ns());
                self.join_by_id()?;
            }
            Line::Lost(lost) => ensure!(lost > 0, "a loss of nothing"),
            Line::Summary(summary) => self.summary = Some(summary),
        }
        Ok(())
    }
}

impl Said {
    /// The last transition belongs to the same socket as earlier ones of its id, which may not have had a cookie.
    ///
    /// That is so for copies of listeners, and on kernels that make a cookie only for whoever asks; nowhere else.
    fn join_by_id(&mut self) -> Result<()> {
        let index = self.transitions.len() - 1;
        let last = &mut self.transitions[index];
        let roles = self.probes.as_ref().and_then(|probes| probes["hooks"]["roles"].as_array());
        let ids = roles.into_iter().flatten().find(|role| role["role"] == "socket-ids").context("no `socket-ids`")?;
        let cookies_at_once = ids["chosen"] == "bpf_get_socket_cookie";
        let unfinished = last.cookie.is_none() && last.remote.port == 0;
        if unfinished && last.is("LISTEN", "ESTABLISHED") {
            // The parent of MPTCP subflows, a copy on every kernel; what it gets later is its listener's cookie.
            return Ok(());
        }
        last.is_copy = unfinished && last.is("LISTEN", "SYN_RECV");
        ensure!(last.cookie.is_some() || last.is_copy || !cookies_at_once, "no cookie at {last}");
        let Some(id) = last.id else { return Ok(()) };
        let (known, nameless) = self.sockets.entry(id).or_default();
        match (last.cookie, *known) {
            (Some(cookie), None) => {
                *known = Some(cookie);
                nameless.drain(..).for_each(|earlier| self.transitions[earlier].cookie = Some(cookie));
            }
            (None, None) => nameless.push(index),
            (None, Some(_)) if !cookies_at_once => last.cookie = *known,
            (cookie, known) => ensure!(cookie == known, "another socket of id {id}: {last}"),
        }
        Ok(())
    }
}

impl Transcript {
    pub(crate) fn start(
        arguments: String,
        stdout: impl Read + Send + 'static,
        stderr: impl Read + Send + 'static,
        json: bool,
    ) -> Self {
        let said = Said { arguments, json, open: 2, ..Said::default() };
        let transcript = Self { shared: Arc::new((Mutex::new(said), Condvar::new())) };
        let out = transcript.clone();
        thread::spawn(move || out.read(stdout, Said::take_stdout));
        let err = transcript.clone();
        thread::spawn(move || err.read(stderr, |said, line| said.stderr.extend_from_slice(line)));
        lock(&OF_THIS_TEST).push(transcript.clone());
        transcript
    }

    fn read(&self, stream: impl Read, mut take: impl FnMut(&mut Said, &[u8])) {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        // A terminal answers EIO when its other side is gone: an end like any other.
        while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            take(&mut lock(&self.shared.0), &line);
            self.shared.1.notify_all();
            line.clear();
        }
        lock(&self.shared.0).open -= 1;
        self.shared.1.notify_all();
    }

    /// Whether what was said so far satisfies `enough`.
    pub(crate) fn has(&self, enough: impl FnOnce(&Said) -> bool) -> bool {
        enough(&lock(&self.shared.0))
    }

    /// Waits until `enough`; an error says what was waited for.
    pub(crate) fn wait_until(&self, what: &str, enough: impl FnMut(&Said) -> bool) -> Result<()> {
        self.wait_for(PATIENCE, what, enough)
    }

    /// The same with a patience of the caller's own, which begins when the tracer has shown what was before: on a busy machine all
    /// of that may be others'.
    pub(crate) fn wait_for(&self, patience: Duration, what: &str, mut enough: impl FnMut(&Said) -> bool) -> Result<()> {
        let (began, began_ns) = (Instant::now(), clock::monotonic_ns());
        let mut said = lock(&self.shared.0);
        while !enough(&said) {
            if let Some(error) = said.error.take() {
                return Err(error);
            }
            let patience = if said.is_behind(began_ns) { MOST_PATIENCE.max(patience) } else { patience };
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                bail!("the tracer was waited for in vain for {patience:?}: {what}");
            }
            ensure!(said.open > 0, "the tracer ended instead of {what}");
            if said.transitions.len() > MANY {
                // To look through them at each line would keep them from being read.
                drop(said);
                thread::sleep(PAUSE);
                said = lock(&self.shared.0);
            } else {
                said = self.shared.1.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        Ok(())
    }

    /// Waits until both streams have ended, as they do soon after the process.
    pub(crate) fn wait_for_end(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = lock(&self.shared.0);
        while said.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "the tracer ended, but something holds its output open");
            said = self.shared.1.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// What json said, once it has ended.
    pub(crate) fn parsed(&self) -> Result<(Vec<Transition>, Value, Summary)> {
        let mut said = lock(&self.shared.0);
        if let Some(error) = said.error.take() {
            return Err(error);
        }
        let probes = said.probes.clone().context("no probes line")?;
        let summary = said.summary.clone().context("no summary line")?;
        Ok((said.transitions.clone(), probes, summary))
    }

    /// When the line of each transition was read, in the order of the transitions.
    pub(crate) fn read_at_ns(&self) -> Vec<u64> {
        lock(&self.shared.0).read_at_ns.clone()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&lock(&self.shared.0).stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&lock(&self.shared.0).stderr).into_owned()
    }
}

/// Forgets the transcripts of the test before.
pub(crate) fn forget() {
    lock(&OF_THIS_TEST).clear();
}

/// What the tracers of this test said, for whoever has to find out why it failed.
pub(crate) fn evidence() -> String {
    let mut evidence = String::new();
    for transcript in mem::take(&mut *lock(&OF_THIS_TEST)) {
        let said = lock(&transcript.shared.0);
        evidence += &format!("\n--- tcpstate trace {}\n", said.arguments);
        evidence += &String::from_utf8_lossy(&said.stderr);
        let lines: Vec<String> = if said.json {
            said.transitions.iter().map(ToString::to_string).collect()
        } else {
            String::from_utf8_lossy(&said.stdout).lines().map(|line| line.escape_debug().to_string()).collect()
        };
        let skipped = lines.len().saturating_sub(PRINTED);
        if skipped > 0 {
            evidence += &format!("({skipped} lines before)\n");
        }
        for line in &lines[skipped..] {
            evidence.push_str(line);
            evidence.push('\n');
        }
        if let Some(summary) = &said.summary {
            evidence += &format!("{summary:?}\n");
        }
    }
    evidence
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
