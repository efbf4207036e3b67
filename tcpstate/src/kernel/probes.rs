//! Which hooks this kernel allows: tried, not guessed.

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FExit, KProbe, ProgramError, TracePoint},
};

use super::{btf::KernelBtf, loader::program, namespaces::with_tracefs};
use crate::model::HookAttempt;

const ACCEPT: &str = "inet_csk_accept";

/// Attaches a `tp_btf` program that has the name of its tracepoint.
pub(super) fn attach_tp_btf(ebpf: &mut Ebpf, btf: &Btf, tracepoint: &str) -> Result<String> {
    attach_tp_btf_as(ebpf, btf, tracepoint, tracepoint)
}

/// Attaches a `tp_btf` program that has a name of its own.
pub(super) fn attach_tp_btf_as(ebpf: &mut Ebpf, btf: &Btf, tracepoint: &str, name: &str) -> Result<String> {
    let attach = |ebpf: &mut Ebpf| -> Result<()> {
        let program: &mut BtfTracePoint = program(ebpf, name)?;
        program.load(tracepoint, btf)?;
        program.attach()?;
        Ok(())
    };
    attach(ebpf).with_context(|| {
        format!("failed to attach `tp_btf/{tracepoint}`; a kernel of at least 5.10 with BTF has it, `-v` shows the verifier's words")
    })?;
    Ok(format!("tp_btf/{tracepoint}"))
}

/// Attaches to the receives that return, where the kernel has a tracepoint for them (6.3).
pub(super) fn attach_receive(ebpf: &mut Ebpf, btf: &Btf) -> HookAttempt {
    let refused = attach_tp_btf(ebpf, btf, "sock_recv_length").err().map(|error| reason(&error));
    HookAttempt { hook: "tp_btf/sock_recv_length".to_owned(), refused }
}

/// Finds a way to see `accept()`: trampoline, kprobe, system-call tracepoints. What was refused, and why, is part of the result.
pub(super) fn attach_accept(ebpf: &mut Ebpf, btf: &Btf, kernel: &KernelBtf) -> Vec<HookAttempt> {
    type Attach<'a> = (&'static str, Box<dyn FnOnce(&mut Ebpf) -> Result<()> + 'a>);
    let ways: [Attach<'_>; 3] = [
        ("fexit/inet_csk_accept", Box::new(|ebpf| attach_fexit(ebpf, btf, kernel))),
        ("kretprobe/inet_csk_accept", Box::new(attach_kretprobe)),
        ("tracepoint/syscalls:sys_exit_accept{,4}", Box::new(attach_syscalls)),
    ];
    let mut attempts = Vec::new();
    for (hook, attach) in ways {
        let refused = attach(ebpf).err().map(|error| reason(&error));
        let attached = refused.is_none();
        attempts.push(HookAttempt { hook: hook.to_owned(), refused });
        if attached {
            break;
        }
    }
    attempts
}

fn attach_fexit(ebpf: &mut Ebpf, btf: &Btf, kernel: &KernelBtf) -> Result<()> {
    // The function's result follows its arguments, whose number changed.
    let name = match kernel.argument_count(ACCEPT) {
        Some(4) => "accept_fexit_args4",
        Some(2) => "accept_fexit_args2",
        Some(other) => anyhow::bail!("`{ACCEPT}` takes {other} arguments on this kernel; 2 and 4 are known"),
        None => anyhow::bail!("`{ACCEPT}` is not in the kernel's BTF"),
    };
    let program: &mut FExit = program(ebpf, name)?;
    program.load(ACCEPT, btf)?;
    program.attach()?;
    Ok(())
}

fn attach_kretprobe(ebpf: &mut Ebpf) -> Result<()> {
    let program: &mut KProbe = program(ebpf, "accept_kretprobe")?;
    program.load()?;
    program.attach(ACCEPT, 0)?;
    Ok(())
}

fn attach_syscalls(ebpf: &mut Ebpf) -> Result<()> {
    let program: &mut TracePoint = program(ebpf, "accept_syscall")?;
    program.load()?;
    with_tracefs(|| -> Result<()> {
        program.attach("syscalls", "sys_exit_accept")?;
        program.attach("syscalls", "sys_exit_accept4")?;
        Ok(())
    })
    .context(
        "tracefs is not mounted and could not be mounted privately; run `mount -t tracefs tracefs /sys/kernel/tracing`",
    )?
}

/// Why a hook is not in use, in one line: the causes without the verifier's log.
fn reason(error: &anyhow::Error) -> String {
    if let Some(ProgramError::LoadError { io_error, .. }) = error.downcast_ref() {
        return format!("the kernel refuses to load it: {io_error}");
    }
    let first_line = |cause: &(dyn std::error::Error + 'static)| cause.to_string().lines().next().map(str::to_owned);
    error.chain().filter_map(first_line).collect::<Vec<_>>().join(": ")
}
