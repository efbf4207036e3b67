//! What tracing costs, ours and that of others: `cargo xtask bench`.
//!
//! Nothing that is measured here decides whether a change may land: tests don't assert times.

mod bpf;
mod children;
mod floor;
mod hooks;
mod latency;
pub(crate) mod load;
mod loads;
pub(crate) mod programs;
mod report;
mod scale;
mod soak;
mod spread;
mod targets;
mod tracer;

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    slice, thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use self::{
    children::Running,
    programs::Programs,
    report::{Machine, Results},
};
use crate::{process, setup};

/// A part of the whole, to be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Connections that come and go
    Churn,
    /// Bursts of accepts
    Accept,
    /// Many small receives
    Receive,
    /// Start to first event
    Start,
    /// `leaks` over 0, 1,000, 10,000 and 100,000 sockets in CLOSE_WAIT
    Scale,
    /// `leaks` and `record` for 15 minutes of ever new places; only when it is asked for by name
    Soak,
}

/// What to measure, and how often.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// A short look, a fraction of the load in two pairs: a minute or two
    #[arg(long)]
    quick: bool,
    /// Pairs of runs, without and with the tracer, for each tracer and load [default: 5, with --quick 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
    pairs: Option<u32>,
    /// Write everything that was measured as one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Run only this part (repeatable)
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() && part != Part::Soak || self.only.contains(&part)
    }

    fn pairs(&self) -> u32 {
        self.pairs.unwrap_or(if self.quick { 2 } else { 5 })
    }

    /// As they are given once more, to the one who measures as root.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--pairs={}", self.pairs())];
        arguments.extend(self.quick.then(|| "--quick".to_owned()));
        arguments.extend(self.json.then(|| "--json".to_owned()));
        let names = self.only.iter().filter_map(ValueEnum::to_possible_value);
        arguments.extend(names.map(|name| format!("--only={}", name.get_name())));
        arguments
    }
}

/// Sets up and builds as the user who asks for it, then measures as root in place of this process.
///
/// # Errors
///
/// A step failed. When all goes well this does not return.
pub(crate) fn task(options: &Options) -> Result<()> {
    setup::ensure(setup::Scope::BUILD)?;
    if let Err(error) = setup::ensure(setup::Scope::BENCH) {
        eprintln!("xtask: measuring without what is missing: {error:#}");
    }
    let programs = Programs::build()?;
    let mut command = process::as_root(std::env::current_exe()?.as_os_str());
    command.arg("measure").args(programs.arguments()).args(options.arguments());
    process::authorize(slice::from_ref(&command))?;
    let shown = process::display(&command);
    Err(command.exec()).with_context(|| format!("failed to run `{shown}`"))
}

/// Measures, as root. All that this changes of the machine ends with this process and its children, however they end: the
/// mounts and networks are namespaces of their own, and the kernel takes the time of BPF programs while a descriptor is open.
///
/// # Errors
///
/// A load or `tcpstate` itself could not run; a peer that does not is named in the table.
pub(crate) fn measure(programs: &Programs, options: &Options) -> Result<()> {
    ensure!(process::is_root(), "measuring needs root: run `cargo xtask bench`");
    // Tracers are ended by it, but a shell without job control has what it starts in the background ignore it.
    // SAFETY: no handler is set.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let machine = Machine {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        cpus: thread::available_parallelism()?.get(),
        load_average: load_average()?,
    };
    mount_tracefs()?;
    let mut idle = Command::new("sleep");
    idle.arg("86400").stdin(Stdio::null());
    let idle = Running::start(idle)?;
    let pairs = options.pairs();

    let mut loads = Vec::new();
    for plan in loads::plans(options.quick) {
        let part = match plan.kind {
            load::Kind::Churn => Part::Churn,
            load::Kind::Accept => Part::Accept,
            load::Kind::Receive => Part::Receive,
            load::Kind::CloseWait => bail!("sockets that stay are measured by `--only scale`"),
        };
        if options.wants(part) {
            loads.extend(loads::measure(&plan, pairs, programs, idle.pid())?);
        }
    }
    let first_event =
        if options.wants(Part::Start) { latency::measure(pairs, programs, idle.pid())? } else { Vec::new() };
    let sockets: &[u64] = if options.wants(Part::Scale) { &[0, 1_000, 10_000, 100_000] } else { &[] };
    let scale = sockets.iter().map(|&sockets| scale::measure(&programs.tcpstate, sockets)).collect::<Result<_>>()?;

    let soak = options.wants(Part::Soak).then(|| soak::measure(&programs.tcpstate, options.quick)).transpose()?;

    let results = Results { schema: 1, machine, pairs, loads, first_event, scale, soak };
    if options.json {
        println!("{}", serde_json::to_string(&results)?);
    } else {
        print!("{}", results.tables());
    }
    Ok(())
}

/// The average number of tasks that wanted a CPU during the last minute.
fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split_ascii_whitespace().next().context("`/proc/loadavg` is empty")?.parse().context("`/proc/loadavg`")
}

/// The peers look for tracepoints in tracefs, which is not mounted everywhere: here for us alone.
fn mount_tracefs() -> Result<()> {
    let tracing = PathBuf::from("/sys/kernel/tracing");
    if tracing.join("events").is_dir() {
        return Ok(());
    }
    // SAFETY: no descriptors are unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("failed to make a mount namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    for (kind, path) in [("tracefs", tracing.as_path()), ("debugfs", Path::new("/sys/kernel/debug"))] {
        mount(kind, path, kind, MountFlags::empty(), None)
            .with_context(|| format!("failed to mount {kind} on {}", path.display()))?;
    }
    Ok(())
}
