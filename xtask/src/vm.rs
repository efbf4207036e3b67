//! Guests with other kernels: `cargo xtask vm`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, bail, ensure};

use crate::{build, cargo, setup};
use emulator::Emulator;
use guests::Guests;
use image::Base;
use kernels::{KERNELS, Kernel};
use qemu::Processor;
use suite::Suite;

mod apt;
mod cpio;
mod emulator;
mod fetch;
mod guests;
mod image;
mod inapplicable;
mod kernels;
mod modules;
mod programs;
mod qemu;
mod results;
mod suite;
mod table;
mod testing;
mod tree;

/// What `cargo xtask vm` is asked for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Kernels to boot, such as 6.1; `all` for every one known [default: 5.10 6.1 6.12 7.2]
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Run this line in the shell of each guest, which has a static `tcpstate`, instead of the tests
    #[arg(long, value_name = "COMMAND", conflicts_with = "shell")]
    exec: Option<String>,
    /// Open a shell in a guest, with the newest of the kernels; `exit` ends it
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
    #[arg(long, value_name = "SECONDS", default_value_t = 1200)]
    limit: u64,
    /// Run half of the tests that no FILTER asks for as well, each on one of the kernels: the other half at the next commit
    #[arg(long, conflicts_with_all = ["exec", "shell"])]
    deal: bool,
    /// Run only tests whose names contain one of these
    #[arg(last = true, value_name = "FILTER")]
    filters: Vec<String>,
}

/// Boots the guests. The exit code of a command that ran in one guest is our own.
///
/// # Errors
///
/// Setting up or building failed, a kernel is unknown or cannot be fetched, or a guest failed.
pub(crate) fn task(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(cfg!(target_arch = "x86_64"), "guests are of x86-64 only: run this on such a machine");
    let kernels = chosen(&options.kernels)?;
    let tests = options.exec.is_none() && !options.shell;
    setup::ensure(setup::Scope { tests, ..setup::Scope::GUESTS })?;
    let fetched = kernels.iter().map(|kernel| fetch::fetch(kernel)).collect::<anyhow::Result<Vec<_>>>()?;
    let directory = cargo::target_dir()?.join("guests");
    let mut guests = Guests { emulator: Emulator::find()?, directory, options, processor: Processor::Emulated };
    fs::create_dir_all(&guests.directory)?;
    let suite = if tests { Some(Suite::build(&options.filters, options.deal.then(turn))?) } else { None };
    // Commands get the program that users have.
    let program = if tests { build::tested_program()? } else { build::static_binary("tcpstate")? };
    let mut base = Base::new(&build::static_binary("tcpstate-guest")?, &program)?;
    for path in &options.with {
        base.add(&path.canonicalize().with_context(|| format!("`{}`", path.display()))?)?;
    }
    if let Some(suite) = &suite {
        suite.install(&mut base)?;
    }
    base.write(&guests.base())?;
    if options.kvm {
        guests.processor = guests.fastest(kernels[0], &fetched[0]);
    }
    match (suite, &options.exec) {
        (Some(suite), _) => testing::run(&guests, &suite, &kernels, &fetched),
        (None, Some(command)) => guests.execute(&kernels, &fetched, command),
        (None, None) => {
            let newest = kernels.len() - 1;
            guests.shell(kernels[newest], &fetched[newest])
        }
    }
}

/// A number that changes from commit to commit.
fn turn() -> usize {
    let mut git = Command::new("git");
    let count = git.current_dir(cargo::workspace()).args(["rev-list", "--count", "HEAD"]).output();
    // Without a repository it is always the same one.
    let count = count.ok().and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
    count.unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::chosen;

    fn names(asked: &[&str]) -> Vec<&'static str> {
        let asked: Vec<_> = asked.iter().map(|&name| name.to_owned()).collect();
        chosen(&asked).expect("known").iter().map(|kernel| kernel.name).collect()
    }

    #[test]
    fn kernels_come_in_their_order_and_the_usual_ones_by_themselves() {
        assert_eq!(names(&[]), ["5.10", "6.1", "6.12", "7.2"]);
        assert_eq!(names(&["6.1-rt", "5.10"]), ["5.10", "6.1-rt"]);
        assert_eq!(names(&["all"]).len(), super::KERNELS.len());
    }

    #[test]
    fn a_kernel_that_is_not_known_is_an_error_that_names_those_that_are() {
        let error = chosen(&["6.1".to_owned(), "2.6".to_owned()]).expect_err("unknown").to_string();
        assert!(error.starts_with("no kernel `2.6`: known are 5.10, 6.1, 6.12,"), "{error}");
    }
}
