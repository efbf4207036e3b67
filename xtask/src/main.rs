//! Development tasks of tcpstate: `cargo xtask <task>`.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

mod bench;
mod build;
mod cargo;
mod dist;
mod ebpf_toolchain;
mod process;
mod run;
mod setup;
mod test;
mod vm;
mod walls;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Development tasks of tcpstate")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what the build and the tests need and this machine lacks
    Setup {
        /// Report what is present and what is missing, and change nothing; exit 1 when something is missing
        #[arg(long)]
        check: bool,
    },
    /// Build the release binary
    Build {
        /// Link it statically, so that it runs on any Linux of this architecture
        #[arg(long = "static")]
        linked_statically: bool,
    },
    /// Build what is attached to a release, in `target/dist`: the static binary with its documents, checksums, notes
    Dist {
        /// Fail when this is not the tag of the version, or the changelog says nothing of it
        #[arg(long)]
        tag: Option<String>,
    },
    /// Build tcpstate and run it as root: `cargo xtask run -- trace --pid 42`
    Run {
        /// Arguments of tcpstate
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Check formatting and lints, and run every test, those that need root included
    Test {
        /// Run only this part (repeatable)
        #[arg(long, value_name = "PART")]
        only: Vec<test::Part>,
        /// Run some of those that need root in guests with other kernels, too: those that meet what kernels differ in
        #[arg(long)]
        vm: bool,
        /// Arguments of the test runners, such as a filter by name
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Check what keeps files and crates apart: imports, names of types, dependencies
    Walls,
    /// Boot guests with other kernels, and run the tests that need root, or a command, in them
    Vm(vm::Options),
    /// Measure what tracing costs, beside other tracers, which are installed for it
    Bench(bench::Options),
    /// The measuring itself, as root
    #[command(hide = true)]
    Measure {
        #[command(flatten)]
        programs: bench::programs::Programs,
        #[command(flatten)]
        options: bench::Options,
    },
    /// A load to measure under
    #[command(hide = true)]
    Load(bench::load::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Setup { check: true } => setup::check(),
        Task::Setup { check: false } => setup::install(setup::Scope::TESTS),
        Task::Build { linked_statically } => build::task(linked_statically),
        Task::Dist { tag } => dist::task(tag.as_deref()),
        Task::Run { args } => run::task(&args),
        Task::Test { only, vm, args } => test::task(&only, vm, &args),
        Task::Walls => walls::task(),
        Task::Vm(options) => return ended(vm::task(&options)),
        Task::Bench(options) => bench::task(&options),
        Task::Measure { programs, options } => bench::measure(&programs, &options),
        Task::Load(options) => bench::load::task(&options),
    };
    ended(result.map(|()| ExitCode::SUCCESS))
}

fn ended(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use tcpstate_documents::{DOCUMENTS, Invocation, commands};

    use super::Cli;

    #[test]
    fn takes_every_command_of_the_documents() {
        let mut taken = 0;
        for command in commands() {
            for invocation in command.invocations() {
                let Invocation::Xtask(arguments) = invocation else { continue };
                let refusal = Cli::try_parse_from(["xtask".to_owned()].into_iter().chain(arguments)).err();
                let refusal = refusal.map(|error| error.to_string());
                assert_eq!(refusal, None, "{}:{}: `{}`", command.document, command.line, command.text);
                taken += 1;
            }
        }
        assert!(taken >= 10, "hardly a command was found");
    }

    /// Amid prose names may stand for values: the task and its options have to exist.
    #[test]
    fn prose_names_tasks_and_options_that_there_are() {
        let program = Cli::command();
        for document in DOCUMENTS {
            for code in document.inline_code() {
                let Some(mut words) = code.strip_prefix("cargo xtask ").map(str::split_whitespace) else { continue };
                let name = words.next().unwrap_or_default();
                let task = program.find_subcommand(name);
                let task = task.unwrap_or_else(|| panic!("{}: `{code}`: no task `{name}`", document.path));
                for option in words.take_while(|&word| word != "--").filter_map(|word| word.strip_prefix("--")) {
                    let known = task.get_arguments().any(|argument| argument.get_long() == Some(option));
                    assert!(known, "{}: `{code}`: no option `--{option}`", document.path);
                }
            }
        }
    }
}
