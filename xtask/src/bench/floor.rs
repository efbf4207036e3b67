//! The least that a tracer can cost: programs of a few instructions at the same hooks.
//!
//! Attached like those of `tcpstate`: as raw tracepoints, the cheapest way there is (`__bpf_trace_run()`,
//! `kernel/trace/bpf_trace.c`), and at the exits of system calls where it has nothing better.

mod hooks;

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    path::Path,
    thread,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

use self::hooks::Hook;
use super::bpf::bpf;

/// What the programs do, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Floor {
    /// Nothing, at each transition
    Empty,
    /// Read the clock and put a record as long as that of a transition into a ring buffer, at each transition
    Record,
    /// Nothing, wherever `tcpstate trace` has a program here
    Trace,
    /// Nothing, wherever `tcpstate leaks` has a program here
    Leaks,
}

/// Whose hooks they are, as `tcpstate probes` calls the roles.
const OF_TRACE: &[&str] = &["transitions", "ends", "accept", "waiting-accepts"];
const OF_LEAKS: &[&str] = &["transitions", "ends", "accept", "waiting-accepts", "eof-reads", "splice-reads"];

impl Floor {
    /// Where programs are attached; `binary` is ours, and knows which hooks it uses on this kernel.
    fn hooks(self, binary: &Path) -> Result<Vec<Hook>> {
        let transitions = || Hook::Raw("inet_sock_set_state".to_owned());
        let mut hooks = match self {
            Self::Empty | Self::Record => return Ok(vec![transitions()]),
            Self::Trace => hooks::chosen(binary, OF_TRACE)?,
            Self::Leaks => hooks::chosen(binary, OF_LEAKS)?,
        };
        // A second one takes the transitions that interrupt the first.
        hooks.push(transitions());
        Ok(hooks)
    }
}

const LICENSE: &CStr = c"GPL";

// `enum bpf_cmd`, `enum bpf_map_type` and `enum bpf_prog_type` of `include/uapi/linux/bpf.h`.
const MAP_CREATE: libc::c_long = 0;
const PROG_LOAD: libc::c_long = 5;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const MAP_TYPE_RINGBUF: u32 = 27;
const PROG_TYPE_TRACEPOINT: u32 = 5;
const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// Holds all records of the longest load, since nobody takes them out.
const RING_BYTES: u32 = 128 << 20;
/// Of one record: addresses, ports, states, owner, times.
const RECORD_BYTES: i32 = 96;

/// One instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// The source's number in the upper half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Attaches it and stays until SIGINT; the kernel detaches it then.
///
/// # Errors
///
/// When the kernel refuses, or `binary` does not say which hooks it uses.
pub(crate) fn task(floor: Floor, binary: &Path) -> Result<()> {
    let ring = match floor {
        Floor::Empty | Floor::Trace | Floor::Leaks => None,
        Floor::Record => Some(ring().context("failed to make a ring buffer")?),
    };
    let instructions = program(ring.as_ref().map(OwnedFd::as_raw_fd));
    let hooks = floor.hooks(binary)?;
    // One for each: the kernel takes times by program, and does not run one that is running already.
    let attached =
        hooks.iter().map(|hook| attach(hook, &instructions).with_context(|| format!("failed to attach to {hook:?}")));
    let _attached = attached.collect::<Result<Vec<_>>>()?;
    loop {
        thread::park();
    }
}

/// A program at a hook, which it leaves when these are closed.
fn attach(hook: &Hook, instructions: &[Instruction]) -> Result<[OwnedFd; 2]> {
    Ok(match hook {
        Hook::Raw(tracepoint) => {
            let program = load(PROG_TYPE_RAW_TRACEPOINT, instructions)?;
            let link = attach_raw(&CString::new(tracepoint.as_str())?, &program)?;
            [link, program]
        }
        Hook::Event(id) => {
            let program = load(PROG_TYPE_TRACEPOINT, instructions)?;
            let event = hooks::open_event(*id)?;
            hooks::set_program(&event, &program)?;
            [event, program]
        }
    })
}

/// What the program does, in instructions.
fn program(ring: Option<RawFd>) -> Vec<Instruction> {
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const SET: u8 = 0xb7;
    const COPY: u8 = 0xbf;
    const LOAD_WIDE: u8 = 0x18;
    const STORE: u8 = 0x7b;
    const JUMP_IF_EQUAL: u8 = 0x15;
    const KTIME_GET_NS: i32 = 5;
    const RINGBUF_RESERVE: i32 = 131;
    const RINGBUF_SUBMIT: i32 = 132;
    /// `BPF_PSEUDO_MAP_FD`: the immediate is a descriptor.
    const MAP: u8 = 1;
    const NO_WAKEUP: i32 = 1;

    let one =
        |code, to: u8, from: u8, offset, immediate| Instruction { code, registers: from << 4 | to, offset, immediate };
    let mut instructions = Vec::new();
    if let Some(ring) = ring {
        instructions.extend([
            one(CALL, 0, 0, 0, KTIME_GET_NS),
            one(COPY, 7, 0, 0, 0),
            one(LOAD_WIDE, 1, MAP, 0, ring),
            one(0, 0, 0, 0, 0),
            one(SET, 2, 0, 0, RECORD_BYTES),
            one(SET, 3, 0, 0, 0),
            one(CALL, 0, 0, 0, RINGBUF_RESERVE),
            // Over what needs a record.
            one(JUMP_IF_EQUAL, 0, 0, 4, 0),
            one(STORE, 0, 7, 0, 0),
            one(COPY, 1, 0, 0, 0),
            one(SET, 2, 0, 0, NO_WAKEUP),
            one(CALL, 0, 0, 0, RINGBUF_SUBMIT),
        ]);
    }
    instructions.extend([one(SET, 0, 0, 0, 0), one(EXIT, 0, 0, 0, 0)]);
    instructions
}

fn ring() -> io::Result<OwnedFd> {
    // Type, length of keys, length of values, length.
    let attributes = [MAP_TYPE_RINGBUF, 0, 0, RING_BYTES];
    // SAFETY: this command reads four numbers of `union bpf_attr`.
    unsafe { bpf(MAP_CREATE, &attributes) }
}

fn load(kind: u32, instructions: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
    }
    let attributes = Attributes {
        kind,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
    };
    // SAFETY: this command reads the first numbers of `union bpf_attr` and what two of them point to.
    unsafe { bpf(PROG_LOAD, &attributes) }
}

fn attach_raw(tracepoint: &CStr, program: &OwnedFd) -> io::Result<OwnedFd> {
    let attributes = [tracepoint.as_ptr() as u64, u64::from(program.as_raw_fd().cast_unsigned())];
    // SAFETY: this command reads the address of a name and a descriptor of `union bpf_attr`.
    unsafe { bpf(RAW_TRACEPOINT_OPEN, &attributes) }
}
