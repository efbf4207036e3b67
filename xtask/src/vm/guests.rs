//! What the guests of one call have in common, and running several at once.

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

use super::{
    Options,
    emulator::Emulator,
    fetch::Fetched,
    image::{self, Job},
    kernels::Kernel,
    qemu::{End, Machine, Processor},
};

/// How many guests run at once: each keeps one processor busy.
pub(crate) const AT_ONCE: usize = 2;

/// A guest that does nothing takes a few seconds with virtualization, where it works.
const KVM_PATIENCE: Duration = Duration::from_secs(60);

/// What the guests of one call have in common.
pub(crate) struct Guests<'a> {
    pub(crate) emulator: Emulator,
    /// Where images, consoles and results are.
    pub(crate) directory: PathBuf,
    pub(crate) options: &'a Options,
    pub(crate) processor: Processor,
}

impl Guests<'_> {
    /// The archive that all guests share.
    pub(crate) fn base(&self) -> PathBuf {
        self.directory.join("base.cpio")
    }

    /// Writes the image of a guest that is to do `job`; `name` is that of its directory.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(crate) fn machine(&self, name: &str, kernel: &Kernel, fetched: &Fetched, job: &Job) -> anyhow::Result<Machine> {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory).with_context(|| format!("`{}`", directory.display()))?;
        let machine = Machine {
            emulator: self.emulator.clone(),
            processor: self.processor,
            kernel: fetched.image.clone(),
            image: directory.join("image.cpio"),
            parameters: kernel.parameters.to_owned(),
            directory,
            limit: Duration::from_secs(self.options.limit),
        };
        image::write_guest(&machine.image, &self.base(), fetched, job)?;
        Ok(machine)
    }

    /// The machine's own processor if a guest comes up on it. On some machines that offer it, guests hang.
    pub(crate) fn fastest(&self, kernel: &Kernel, fetched: &Fetched) -> Processor {
        let works = || -> anyhow::Result<()> {
            fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").context("`/dev/kvm`")?;
            let job = Job { command: "true".to_owned(), interactive: false };
            let mut machine = self.machine("kvm", kernel, fetched, &job)?;
            machine.processor = Processor::Kvm;
            machine.limit = KVM_PATIENCE;
            let end = machine.run(&mut |_| {});
            fs::remove_file(&machine.image)?;
            let end = end?;
            ensure!(end == End::Exit(0), "{end}");
            Ok(())
        };
        match works() {
            Ok(()) => Processor::Kvm,
            Err(error) => {
                eprintln!("==> no virtualization, going on without: {error:#}");
                Processor::Emulated
            }
        }
    }

    /// A shell in a guest, at the user's terminal.
    ///
    /// # Errors
    ///
    /// The guest failed.
    pub(crate) fn shell(&self, kernel: &Kernel, fetched: &Fetched) -> anyhow::Result<ExitCode> {
        let shell = "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi";
        let job = Job { command: shell.to_owned(), interactive: true };
        let machine = self.machine(kernel.name, kernel, fetched, &job)?;
        eprintln!("==> Linux {}; `exit` ends it; its console is in {}", fetched.release, machine.console().display());
        let end = machine.converse()?;
        self.code(&machine, &end)
    }

    /// The same command in every guest. Its exit code is ours; of several that failed, the last one's.
    ///
    /// # Errors
    ///
    /// A guest failed.
    pub(crate) fn execute(&self, kernels: &[&Kernel], fetched: &[Fetched], command: &str) -> anyhow::Result<ExitCode> {
        let job = Job { command: command.to_owned(), interactive: false };
        let alone = kernels.len() == 1;
        let run = |index: usize| -> anyhow::Result<ExitCode> {
            let (kernel, fetched) = (kernels[index], &fetched[index]);
            let start = Instant::now();
            let machine = self.machine(kernel.name, kernel, fetched, &job)?;
            let end = machine.run(&mut |line| {
                if alone { println!("{line}") } else { println!("{:6} | {line}", kernel.name) }
            })?;
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

    /// Removes what nobody will look at: the image, and the console of a guest that did what it was to do, as `good` says.
    ///
    /// # Errors
    ///
    /// A file cannot be removed.
    pub(crate) fn tidy(&self, machine: &Machine, good: bool) -> anyhow::Result<()> {
        fs::remove_file(&machine.image)?;
        if good && !self.options.keep {
            fs::remove_file(machine.console())?;
        }
        Ok(())
    }

    fn code(&self, machine: &Machine, end: &End) -> anyhow::Result<ExitCode> {
        self.tidy(machine, *end == End::Exit(0))?;
        if *end != End::Exit(0) {
            eprintln!("    its console is in {}", machine.console().display());
        }
        match end {
            End::Exit(code) => Ok(ExitCode::from(u8::try_from(*code).unwrap_or(1))),
            End::Signal(signal) => Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))),
            other => bail!("{other}"),
        }
    }
}

/// Does `action` for each number below `count`, [`AT_ONCE`] at a time; the results in order.
pub(crate) fn each<T: Send>(count: usize, action: impl Fn(usize) -> T + Sync) -> Vec<T> {
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
