//! Guests with other kernels: `cargo xtask vm`.

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use crate::{build, cargo, setup};
use fetch::Fetched;
use image::{Base, Job};
use kernels::{KERNELS, Kernel};
use qemu::{End, Machine, Processor};

mod apt;
mod cpio;
mod fetch;
mod image;
mod kernels;
mod modules;
mod programs;
mod qemu;
mod tree;

/// How many guests run at once: each keeps one processor busy.
const AT_ONCE: usize = 2;

/// What `cargo xtask vm` is asked for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Kernels to boot, such as 6.1; `all` for every one known [default: 5.10 6.1 6.12 7.2]
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Run this line in the shell of each guest, which has a static `tcpstate`, instead of the tests
    #[arg(long, value_name = "COMMAND", conflicts_with = "shell")]
    exec: Option<String>,
    /// Open a shell in a guest; `exit` ends it
    #[arg(long)]
    shell: bool,
    /// Put these files or directories into the guests, at the same paths (repeatable)
    #[arg(long, value_name = "PATH")]
    with: Vec<PathBuf>,
    /// Keep the console of each guest, also of those that did well
    #[arg(long)]
    keep: bool,
    /// Use the processor's virtualization where it works; emulation is slower and works everywhere
    #[arg(long)]
    kvm: bool,
    /// Give a guest up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
}

/// Boots the guests. The exit code of a command that ran in one guest is our own.
///
/// # Errors
///
/// Setting up or building failed, a kernel is unknown or cannot be fetched, or a guest failed.
pub(crate) fn task(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(cfg!(target_arch = "x86_64"), "guests are of x86-64 only: run this on such a machine");
    let kernels = chosen(&options.kernels)?;
    setup::ensure(setup::Scope::GUESTS)?;
    let fetched = kernels.iter().map(|kernel| fetch::fetch(kernel)).collect::<anyhow::Result<Vec<_>>>()?;
    let guests = Guests { directory: cargo::target_dir()?.join("guests"), options };
    fs::create_dir_all(&guests.directory)?;
    let mut base = base()?;
    for path in &options.with {
        base.add(&path.canonicalize().with_context(|| format!("`{}`", path.display()))?)?;
    }
    base.write(&guests.base())?;
    if options.shell {
        return guests.shell(kernels[0], &fetched[0]);
    }
    let Some(command) = &options.exec else { bail!("there is no `--exec` and no `--shell`") };
    guests.execute(&kernels, &fetched, command)
}

/// Those that are asked for, in the order of [`KERNELS`].
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Kernel>> {
    let known = || KERNELS.iter().map(|kernel| kernel.name).collect::<Vec<_>>().join(", ");
    if let Some(name) = names.iter().find(|name| *name != "all" && !KERNELS.iter().any(|kernel| kernel.name == *name)) {
        bail!("no kernel `{name}`: known are {}", known());
    }
    let all = names.iter().any(|name| name == "all");
    let wanted =
        |kernel: &&Kernel| all || if names.is_empty() { kernel.usual } else { names.iter().any(|n| n == kernel.name) };
    Ok(KERNELS.iter().filter(wanted).collect())
}

fn base() -> anyhow::Result<Base> {
    let init = build::static_binary("tcpstate-guest", "tcpstate-guest")?;
    let tcpstate = build::static_binary("tcpstate", "tcpstate")?;
    Base::new(&init, &tcpstate)
}

/// What the guests of one call have in common.
struct Guests<'a> {
    directory: PathBuf,
    options: &'a Options,
}

impl Guests<'_> {
    fn base(&self) -> PathBuf {
        self.directory.join("base.cpio")
    }

    fn machine(&self, name: &str, kernel: &Kernel, fetched: &Fetched, job: &Job) -> anyhow::Result<Machine> {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory).with_context(|| format!("`{}`", directory.display()))?;
        let machine = Machine {
            processor: if self.options.kvm { Processor::Kvm } else { Processor::Emulated },
            kernel: fetched.image.clone(),
            image: directory.join("image.cpio"),
            parameters: kernel.parameters.to_owned(),
            directory,
            limit: Duration::from_secs(self.options.limit),
        };
        image::write_guest(&machine.image, &self.base(), fetched, job)?;
        Ok(machine)
    }

    fn shell(&self, kernel: &Kernel, fetched: &Fetched) -> anyhow::Result<ExitCode> {
        let shell = "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi";
        let job = Job { command: shell.to_owned(), interactive: true };
        let machine = self.machine(kernel.name, kernel, fetched, &job)?;
        eprintln!("==> Linux {}; `exit` ends it; its console is in {}", fetched.release, machine.console().display());
        let end = machine.converse()?;
        fs::remove_file(&machine.image)?;
        self.code(&machine, &end)
    }

    /// The same command in every guest.
    fn execute(&self, kernels: &[&Kernel], fetched: &[Fetched], command: &str) -> anyhow::Result<ExitCode> {
        let job = Job { command: command.to_owned(), interactive: false };
        let alone = kernels.len() == 1;
        let run = |index: usize| -> anyhow::Result<ExitCode> {
            let (kernel, fetched) = (kernels[index], &fetched[index]);
            let start = Instant::now();
            let machine = self.machine(kernel.name, kernel, fetched, &job)?;
            let end = machine.run(&mut |line| {
                if alone { println!("{line}") } else { println!("{:6} | {line}", kernel.name) }
            })?;
            fs::remove_file(&machine.image)?;
            eprintln!("==> Linux {}: {end}, in {:.1} s", fetched.release, start.elapsed().as_secs_f64());
            self.code(&machine, &end)
        };
        let mut code = ExitCode::SUCCESS;
        let mut failed = Vec::new();
        for (kernel, result) in kernels.iter().zip(each(kernels.len(), run)) {
            match result {
                Ok(ended) if ended != ExitCode::SUCCESS => code = ended,
                Ok(_) => {}
                Err(error) => failed.push(format!("{}: {error:#}", kernel.name)),
            }
        }
        ensure!(failed.is_empty(), "{}", failed.join("\n"));
        Ok(code)
    }

    /// Keeps the console of a guest that failed, and tells where it is.
    fn code(&self, machine: &Machine, end: &End) -> anyhow::Result<ExitCode> {
        let console = machine.console();
        if *end == End::Exit(0) {
            if !self.options.keep {
                fs::remove_file(&console)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("    its console is in {}", console.display());
        match end {
            End::Exit(code) => Ok(ExitCode::from(u8::try_from(*code).unwrap_or(1))),
            End::Signal(signal) => Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))),
            other => bail!("{other}"),
        }
    }
}

/// Does `action` for each number below `count`, [`AT_ONCE`] at a time; the results in order.
fn each<T: Send>(count: usize, action: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..count).collect());
    let results = Mutex::new(Vec::with_capacity(count));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(count) {
            scope.spawn(|| {
                while let Some(index) = next() {
                    let result = action(index);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
