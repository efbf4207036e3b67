//! The ways to fill each role, in order of preference.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    maps::ProgramArray,
    programs::{BtfTracePoint, FEntry, FExit, Iter, KProbe, TracePoint},
};
use tcpstate_common::{arch::pt_regs, helper, layout::ABSENT};
use tcpstate_core::model::probes::{Refusal, Role};

use super::{
    super::{held, object::program, refusal::Refused},
    target::{Candidate, HookTarget},
};
use crate::host::mounts::{format_of, with_tracefs};

type Attached = Result<(), Refused>;

const ACCEPT: &str = "inet_csk_accept";
const GRAFT: &str = "security_sock_graft";
pub(super) const ACCEPT_SYSCALLS: &str = "tracepoint/syscalls:sys_exit_accept{,4}";
/// Begins like the one above.
const ACCEPT_SYSCALLS_AND_RINGS: &str = "tracepoint/syscalls:sys_exit_accept{,4}, io_uring:io_uring_complete";
const RECEIVE: &str = "tcp_recvmsg";
const SPLICE: &str = "tcp_splice_read";

/// Kernel functions that programs are attached to.
pub(in crate::kernel) const FUNCTIONS: [&str; 4] = [ACCEPT, GRAFT, RECEIVE, SPLICE];

pub(super) fn of(role: Role) -> Vec<Candidate> {
    let hook = |hook, attach| Candidate { hook, attach, substitute: false };
    let substitute = |hook, attach| Candidate { hook, attach, substitute: true };
    match role {
        Role::Transitions => vec![hook("tp_btf/inet_sock_set_state", transitions)],
        Role::Ends => {
            vec![hook("tp_btf/tcp_destroy_sock", |target| tp_btf(target, "tcp_destroy_sock", "tcp_destroy_sock"))]
        }
        Role::Accept => vec![
            hook("fexit/inet_csk_accept", accept_fexit),
            hook("kretprobe/inet_csk_accept", accept_kretprobe),
            hook(ACCEPT_SYSCALLS_AND_RINGS, accept_syscalls_and_rings),
            substitute(ACCEPT_SYSCALLS, accept_syscalls),
        ],
        // System calls come last: while one of them has a hook, every system call of the machine takes the slow way
        // (`SYSCALL_WORK_SYSCALL_TRACEPOINT`, include/linux/entry-common.h).
        Role::WaitingAccepts => {
            vec![hook("fentry/security_sock_graft", accept_graft), hook(ACCEPT_SYSCALLS, accept_syscalls)]
        }
        Role::EofReads => vec![
            hook("tp_btf/sock_recv_length", |target| tp_btf(target, "sock_recv_length", "sock_recv_length")),
            hook("fexit/tcp_recvmsg", receive_fexit),
        ],
        Role::SpliceReads => vec![
            hook("fexit/tcp_splice_read", |target| fexit(target, SPLICE, &[(5, "splice_fexit")])),
            hook("tracepoint/syscalls:sys_exit_splice", |target| {
                target.helpers.require(helper::TASK_REGISTERS)?;
                register(target.layout.regs_argument_5, pt_regs::ARGUMENT_5)?;
                syscalls(target, "splice_syscall", &["sys_exit_splice"])
            }),
        ],
        Role::Descriptors => vec![
            hook("iter/task_file, bpf_sock_from_file", |target| {
                target.helpers.require(helper::SOCKET_FROM_FILE)?;
                descriptors(target)
            }),
            substitute("iter/task_file, file->private_data", |target| {
                target.helpers.require(helper::READ_KERNEL)?;
                descriptors(target)
            }),
        ],
        Role::Sockets => vec![hook("iter/tcp", |target| iterators(target, "tcp", "snapshot_tcp", "leaking_tcp"))],
        Role::Threads => vec![hook("iter/task", |target| iterator(target, "task", "leaking_threads"))],
        Role::Processes => vec![hook("tp_btf/sched_process_{fork,exec,exit}", |target| {
            if target.hunting {
                tp_btf(target, "sched_process_exec", "sched_process_exec")?;
            }
            if target.following {
                tp_btf(target, "sched_process_fork", "sched_process_fork")?;
            }
            tp_btf(target, "sched_process_exit", "sched_process_exit")
        })],
        Role::SocketIds => vec![
            hook("bpf_get_socket_cookie", |target| target.helpers.require(helper::SOCKET_COOKIE)),
            // A cookie that somebody else asked for is shown; nobody else need ask.
            substitute("own numbers, sock->sk_cookie", |_| Ok(())),
        ],
        Role::Cgroups => {
            vec![hook("sock->sk_cgrp_data.cgroup", |target| field(target.layout.sk_cgroup, "sock.sk_cgrp_data.cgroup"))]
        }
        Role::Registers => vec![
            hook("bpf_task_pt_regs", |target| {
                register(target.layout.regs_ip, pt_regs::IP)?;
                target.helpers.require(helper::TASK_REGISTERS)
            }),
            substitute("task->stack", |target| {
                register(target.layout.regs_ip, pt_regs::IP)?;
                field(target.layout.task_stack, "task_struct.stack")?;
                target.helpers.require(helper::READ_KERNEL)
            }),
        ],
        Role::UserStacks => vec![hook("bpf_probe_read_user", |target| target.helpers.require(helper::READ_USER))],
    }
}

fn field(offset: u32, name: &str) -> Attached {
    if offset == ABSENT {
        let reason = format!("this kernel's BTF has no field `{name}`");
        return Err(Refused(Refusal { errno: None, reason }));
    }
    Ok(())
}

fn register(offset: u32, name: &str) -> Attached {
    field(offset, &format!("pt_regs.{name}"))
}

/// Attaches a `tp_btf` program.
fn tp_btf(target: &mut HookTarget<'_>, tracepoint: &str, name: &str) -> Attached {
    let program: &mut BtfTracePoint = program(target.ebpf, name)?;
    program.load(tracepoint, target.btf)?;
    program.attach()?;
    Ok(())
}

fn transitions(target: &mut HookTarget<'_>) -> Attached {
    tp_btf(target, "inet_sock_set_state", "inet_sock_set_state")?;
    hand_over_to(target, "inet_sock_set_state").context("failed to connect the BPF programs")?;
    tp_btf(target, "inet_sock_set_state", "inet_sock_set_state_nested")
}

/// Tells the program that takes interrupting transitions which one to call for them.
fn hand_over_to(target: &mut HookTarget<'_>, name: &str) -> Result<()> {
    let transitions: &mut BtfTracePoint = program(target.ebpf, name)?;
    let transitions = transitions.fd()?.try_clone()?;
    let map = target.ebpf.map_mut("TRANSITIONS").context("the BPF object has no map `TRANSITIONS`")?;
    ProgramArray::try_from(map)?.set(0, &transitions, 0)?;
    Ok(())
}

/// Attaches an `fexit` program. The function's result follows its arguments, whose number has changed: each of `programs` is
/// for one.
fn fexit(target: &mut HookTarget<'_>, function: &str, programs: &[(usize, &str)]) -> Attached {
    let attach = |target: &mut HookTarget<'_>| -> Result<()> {
        let arguments = target
            .types
            .argument_count(function)
            .with_context(|| format!("`{function}` is not in the kernel's BTF"))?;
        let (_, name) = programs.iter().find(|(known, _)| *known == arguments).with_context(|| {
            format!("`{function}` takes {arguments} arguments on this kernel, which is not known here")
        })?;
        let program: &mut FExit = program(target.ebpf, name)?;
        program.load(function, target.btf)?;
        program.attach()?;
        Ok(())
    };
    Ok(attach(target)?)
}

fn accept_fexit(target: &mut HookTarget<'_>) -> Attached {
    fexit(target, ACCEPT, &[(4, "accept_fexit_args4"), (2, "accept_fexit_args2")])
}

fn receive_fexit(target: &mut HookTarget<'_>) -> Attached {
    let programs = [(6, "receive_fexit_args6"), (5, "receive_fexit_args5"), (4, "receive_fexit_args4")];
    fexit(target, RECEIVE, &programs)
}

fn accept_kretprobe(target: &mut HookTarget<'_>) -> Attached {
    let program: &mut KProbe = program(target.ebpf, "accept_kretprobe")?;
    program.load()?;
    program.attach(ACCEPT, 0)?;
    Ok(())
}

fn accept_graft(target: &mut HookTarget<'_>) -> Attached {
    let program: &mut FEntry = program(target.ebpf, "accept_graft")?;
    program.load(GRAFT, target.btf)?;
    program.attach()?;
    Ok(())
}

fn accept_syscalls(target: &mut HookTarget<'_>) -> Attached {
    syscalls(target, "accept_syscall", &["sys_exit_accept", "sys_exit_accept4"])
}

/// `io_uring` makes no system call to accept: its tracepoint tells what its requests have returned.
fn accept_syscalls_and_rings(target: &mut HookTarget<'_>) -> Attached {
    for (offset, name) in
        [(target.layout.io_opcode, "io_kiocb.opcode"), (target.layout.io_file_slot, "io_accept.file_slot")]
    {
        field(offset, name)?;
    }
    let format = with_tracefs(|| format_of("io_uring", "io_uring_complete"))?;
    let format = format.context("this kernel has no tracepoint `io_uring:io_uring_complete`")?;
    if !COMPLETION.iter().all(|known| format.contains(known)) {
        Err(anyhow!("the fields of `io_uring:io_uring_complete` are others than those known here"))?;
    }
    tracepoints(target, "accept_ring", "io_uring", &["io_uring_complete"])?;
    accept_syscalls(target)
}

/// What the program reads of the record, as its format tells.
const COMPLETION: [&str; 2] = ["field:void * req;\toffset:16;\tsize:8;", "field:int res;\toffset:32;\tsize:4;"];

/// Attaches a program to tracepoints of system calls.
fn syscalls(target: &mut HookTarget<'_>, name: &str, tracepoints: &[&str]) -> Attached {
    self::tracepoints(target, name, "syscalls", tracepoints)
}

/// Attaches a program to tracepoints of a group.
fn tracepoints(target: &mut HookTarget<'_>, name: &str, group: &str, tracepoints: &[&str]) -> Attached {
    let program: &mut TracePoint = program(target.ebpf, name)?;
    // Where every hook is tried, one is tried for two roles.
    if program.fd().is_ok() {
        return Ok(());
    }
    program.load()?;
    let attached = with_tracefs(|| -> Result<()> {
        for tracepoint in tracepoints {
            program.attach(group, tracepoint)?;
        }
        Ok(())
    });
    let attached = attached.and_then(|attached| attached);
    if attached.is_err() {
        program.unload()?;
    }
    Ok(attached?)
}

fn iterator(target: &mut HookTarget<'_>, kind: &str, name: &str) -> Attached {
    let program: &mut Iter = program(target.ebpf, name)?;
    program.load(kind, target.btf)?;
    Ok(())
}

fn descriptors(target: &mut HookTarget<'_>) -> Attached {
    iterator(target, "task_file", "inherited_files")?;
    iterators(target, "task_file", "snapshot_files", "leaking_files")?;
    if target.by_process { iterator(target, "task_file", held::PROGRAM) } else { Ok(()) }
}

/// Loads the iterator of the snapshot, and that of leak hunting where it is wanted.
fn iterators(target: &mut HookTarget<'_>, kind: &str, snapshot: &str, leaking: &str) -> Attached {
    iterator(target, kind, snapshot)?;
    if target.hunting { iterator(target, kind, leaking) } else { Ok(()) }
}
