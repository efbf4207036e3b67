//! The least that a tracer can cost: programs of a few instructions at the same hooks, and the kernel's clock for them.
//!
//! A program of its own, which `cargo xtask bench` builds and runs: `cargo xtask`, which installs what BPF programs are built
//! with, is built without it.

use std::{convert::Infallible, process::ExitCode, thread};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{Program, RawTracePoint, TracePoint},
    sys::{Stats, enable_stats},
};
use clap::Parser;

static EMPTY: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/empty"));
static RECORD: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/record"));

/// What it does until it is killed.
#[derive(Debug, Parser)]
enum Task {
    /// Attach a program that does nothing to each of these hooks
    Empty {
        /// Tracepoints (`inet_sock_set_state`) and events of tracefs (`syscalls:sys_exit_accept`)
        #[arg(required = true)]
        hooks: Vec<String>,
    },
    /// Attach one that reads the clock and puts a record as long as that of a transition into a ring buffer
    Record {
        /// A tracepoint
        tracepoint: String,
    },
    /// Have the kernel take the time of every run of a BPF program, and say `ready` then
    Times,
}

fn main() -> ExitCode {
    let Err(error) = run(&Task::parse());
    eprintln!("tcpstate-floor: {error:#}");
    ExitCode::FAILURE
}

/// Ends with an error or a signal; the kernel undoes everything then.
fn run(task: &Task) -> Result<Infallible> {
    match task {
        Task::Empty { hooks } => stay(hooks.iter().map(|hook| attach(EMPTY, hook)).collect::<Result<Vec<_>>>()?),
        Task::Record { tracepoint } => stay(attach(RECORD, tracepoint)?),
        Task::Times => {
            let times = enable_stats(Stats::RunTime).context("the kernel does not take the time of BPF programs")?;
            println!("ready");
            stay(times)
        }
    }
}

fn stay<T>(_what_is_held: T) -> ! {
    loop {
        thread::park();
    }
}

/// Loads an object and attaches its program, like those of `tcpstate`: as a raw tracepoint, and at the exit of a system call where
/// it has nothing better. Each hook has an object of its own: the kernel takes times by program, and does not run one that is
/// running already.
fn attach(object: &[u8], hook: &str) -> Result<Ebpf> {
    let attach = || -> Result<Ebpf> {
        // Nothing in it is relocated.
        let mut loaded = EbpfLoader::new().btf(None).load(object)?;
        if let Some((group, event)) = hook.split_once(':') {
            let program: &mut TracePoint = program(&mut loaded, "at_event")?.try_into()?;
            program.load()?;
            program.attach(group, event)?;
        } else {
            let program: &mut RawTracePoint = program(&mut loaded, "at_tracepoint")?.try_into()?;
            program.load()?;
            program.attach(hook)?;
        }
        Ok(loaded)
    };
    attach().with_context(|| format!("failed to attach to `{hook}`"))
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    object.program_mut(name).with_context(|| format!("the object has no program `{name}`"))
}
