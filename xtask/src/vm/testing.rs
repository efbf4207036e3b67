//! Runs the tests on several kernels, and tells how it went.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal as _, LineWriter, Write as _},
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    fetch::Fetched,
    guests::{Guests, each},
    image::Job,
    inapplicable,
    kernels::Kernel,
    qemu::End,
    results::{self, Said},
    suite::{Nth, Suite},
    table::{self, Column},
};

/// How many tests one guest runs, about: what is left of a guest that hangs, and how even two processors are used.
const TESTS_AT_ONCE: usize = 120;

/// What one guest came to.
struct Part {
    kernel: usize,
    said: Said,
    end: anyhow::Result<End>,
    seconds: f64,
}

/// Runs `suite` on `kernels`.
///
/// # Errors
///
/// A result cannot be written, or the list of what cannot pass names tests that there are not.
pub(crate) fn run(
    guests: &Guests<'_>,
    suite: &Suite,
    kernels: &[&'static Kernel],
    fetched: &[Fetched],
) -> anyhow::Result<ExitCode> {
    let stale = inapplicable::stale(&suite.known());
    ensure!(stale.is_empty(), "no test is called {}: remove it from `INAPPLICABLE`", stale.join(", "));
    let nth = |index| Nth { index, of: kernels.len() };
    let tests: Vec<_> = (0..kernels.len()).map(|index| suite.tests(nth(index))).collect();
    let counts: Vec<_> = tests.iter().map(Vec::len).collect();
    let parts = counts.iter().max().map_or(1, |most| most.div_ceil(TESTS_AT_ONCE));
    let of_kernels = kernels.iter().zip(&counts).map(|(kernel, count)| format!("{count} tests on {}", kernel.name));
    eprintln!("==> {}; {} guests at a time", of_kernels.collect::<Vec<_>>().join(", "), super::guests::AT_ONCE);
    let progress = Progress::new(kernels, counts);
    let done = each(kernels.len() * parts, |index| {
        let (part, kernel) = (index / kernels.len(), index % kernels.len());
        let command = suite.command(nth(kernel), part, parts);
        let part = run_part(guests, command, (kernel, kernels[kernel]), &fetched[kernel], (part, parts), &progress);
        let finished = progress.finish(part, parts);
        if let Some(parts) = finished {
            let column = column(kernels[kernel], &fetched[kernel], parts, &tests[kernel]);
            progress.line(&column.summary());
            return Some(column);
        }
        None
    });
    let mut columns: Vec<Column> = done.into_iter().flatten().collect();
    columns.sort_by_key(|column| kernels.iter().position(|kernel| kernel.name == column.name));
    let matrix = guests.directory.join("matrix.txt");
    fs::write(&matrix, table::matrix(&columns)).with_context(|| format!("`{}`", matrix.display()))?;
    println!("{}", table::digest(&columns));
    eprintln!("    every test on every kernel: {}", matrix.display());
    let good = columns.len() == kernels.len() && columns.iter().all(Column::is_good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_part(
    guests: &Guests<'_>,
    command: String,
    (index, kernel): (usize, &Kernel),
    fetched: &Fetched,
    (part, parts): (usize, usize),
    progress: &Progress,
) -> Part {
    let start = Instant::now();
    let mut said = Said::default();
    let job = Job { command, interactive: false };
    let name = if parts == 1 { kernel.name.to_owned() } else { format!("{}-{part}", kernel.name) };
    let mut run = || {
        let machine = guests.machine(&name, kernel, fetched, &job)?;
        let mut log = LineWriter::new(fs::File::create(machine.directory.join("tests.log"))?);
        let mut written = Ok(());
        let end = machine.run(&mut |line| {
            said.take(line);
            progress.count(index, part, &said);
            if written.is_ok() {
                // Tests come one after the other, so this tells what each took.
                written = writeln!(log, "{:6.1} s  {line}", start.elapsed().as_secs_f64());
            }
        })?;
        written?;
        log.flush()?;
        guests.tidy(&machine, results::is_regular(&end))?;
        Ok(end)
    };
    let end = run();
    Part { kernel: index, said, end, seconds: start.elapsed().as_secs_f64() }
}

/// Puts together what the guests of one kernel came to.
fn column(kernel: &'static Kernel, fetched: &Fetched, parts: Vec<Part>, tests: &[String]) -> Column {
    let mut all = Said::default();
    let mut troubles = Vec::new();
    let mut seconds = 0.0;
    for part in parts {
        seconds += part.seconds;
        match part.end {
            Ok(end) if results::is_regular(&end) => {}
            Ok(end) => troubles.push(end.to_string()),
            Err(error) => troubles.push(format!("{error:#}")),
        }
        all.merge(part.said);
    }
    let verdicts = all.verdicts(kernel.name, tests);
    Column {
        name: kernel.name,
        release: fetched.release.clone(),
        verdicts: verdicts.into_iter().map(|(test, verdict)| (test.to_owned(), verdict)).collect(),
        troubles,
        seconds,
        failures: all.failures,
        again: all.again,
        hooks: all.hooks.as_deref().map(hooks).unwrap_or_default(),
    }
}

/// The roles and chosen hooks in what `tcpstate probes -o json` says.
fn hooks(line: &str) -> Vec<(String, String)> {
    let probes: Value = serde_json::from_str(line).unwrap_or_default();
    let roles = probes.get("roles").and_then(Value::as_array).into_iter().flatten();
    let named = roles.filter_map(|role| {
        let chosen = role.get("chosen")?.as_str().unwrap_or("none");
        Some((role.get("role")?.as_str()?.to_owned(), chosen.to_owned()))
    });
    named.collect()
}

/// What the guests have come to so far: on a terminal, one line that is written anew.
struct Progress {
    state: Mutex<State>,
    /// How many tests each kernel has.
    tests: Vec<usize>,
    terminal: bool,
}

struct State {
    /// Of each guest by kernel and part: tests that have run, and failed.
    counts: BTreeMap<(usize, usize), (usize, usize)>,
    names: Vec<&'static str>,
    parts: Vec<Part>,
}

impl Progress {
    fn new(kernels: &[&'static Kernel], tests: Vec<usize>) -> Self {
        let names = kernels.iter().map(|kernel| kernel.name).collect();
        let state = State { counts: BTreeMap::new(), names, parts: Vec::new() };
        Self { state: Mutex::new(state), tests, terminal: io::stderr().is_terminal() }
    }

    fn count(&self, index: usize, part: usize, said: &Said) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = (said.count(), said.failed());
        if state.counts.insert((index, part), counts) == Some(counts) || !self.terminal {
            return;
        }
        let shown = state.names.iter().enumerate().filter_map(|(index, name)| {
            let parts: Vec<_> = state.counts.range((index, 0)..(index + 1, 0)).map(|(_, counts)| counts).collect();
            let (run, failed) = parts.iter().fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
            let bad = if failed > 0 { format!(" ({failed} FAILED)") } else { String::new() };
            let tests = self.tests[index];
            (!parts.is_empty() && run < tests).then(|| format!("{name} {run}/{tests}{bad}"))
        });
        eprint!("\r\x1b[K    {}", shown.collect::<Vec<_>>().join("   "));
    }

    /// A line that stays.
    fn line(&self, line: &str) {
        let _alone = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("{}    {line}", if self.terminal { "\r\x1b[K" } else { "" });
    }

    /// Keeps a part; all parts of its kernel once the last one has come.
    fn finish(&self, part: Part, parts: usize) -> Option<Vec<Part>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let kernel = part.kernel;
        state.parts.push(part);
        let mine = state.parts.iter().filter(|part| part.kernel == kernel).count();
        (mine == parts).then(|| state.parts.extract_if(.., |part| part.kernel == kernel).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::hooks;

    #[test]
    fn reads_the_hooks() {
        let line = r#"{"schema":1,"roles":[{"role":"ends","chosen":"tp_btf/tcp_destroy_sock"},{"role":"accept","chosen":null}]}"#;
        let expected = [("ends", "tp_btf/tcp_destroy_sock"), ("accept", "none")];
        assert_eq!(hooks(line), expected.map(|(role, hook)| (role.to_owned(), hook.to_owned())));
        assert!(hooks("error: no").is_empty());
    }
}
