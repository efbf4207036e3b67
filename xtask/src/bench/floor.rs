//! The least that a tracer can cost: programs of a few instructions at the same tracepoints.
//!
//! Attached like those of `tcpstate`, as raw tracepoints: the cheapest way there is (`__bpf_trace_run()`,
//! `kernel/trace/bpf_trace.c`).

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    thread,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::bpf::bpf;

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Floor {
    /// Nothing
    Empty,
    /// Read the clock and put a record as long as that of a transition into a ring buffer
    Record,
    /// Nothing, at the end of each receive
    Receive,
}

impl Floor {
    const fn tracepoint(self) -> &'static CStr {
        match self {
            Self::Empty | Self::Record => c"inet_sock_set_state",
            Self::Receive => c"sock_recv_length",
        }
    }
}

const LICENSE: &CStr = c"GPL";

// `enum bpf_cmd`, `enum bpf_map_type` and `enum bpf_prog_type` of `include/uapi/linux/bpf.h`.
const MAP_CREATE: libc::c_long = 0;
const PROG_LOAD: libc::c_long = 5;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const MAP_TYPE_RINGBUF: u32 = 27;
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
/// When the kernel refuses.
pub(crate) fn task(floor: Floor) -> Result<()> {
    let ring = match floor {
        Floor::Empty | Floor::Receive => None,
        Floor::Record => Some(ring().context("failed to make a ring buffer")?),
    };
    let program = load(&program(ring.as_ref().map(OwnedFd::as_raw_fd))).context("failed to load a program")?;
    let _link = attach(floor.tracepoint(), &program).context("failed to attach a program")?;
    loop {
        thread::park();
    }
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

fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
    }
    let attributes = Attributes {
        kind: PROG_TYPE_RAW_TRACEPOINT,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
    };
    // SAFETY: this command reads the first numbers of `union bpf_attr` and what two of them point to.
    unsafe { bpf(PROG_LOAD, &attributes) }
}

fn attach(tracepoint: &CStr, program: &OwnedFd) -> io::Result<OwnedFd> {
    let attributes = [tracepoint.as_ptr() as u64, u64::from(program.as_raw_fd().cast_unsigned())];
    // SAFETY: this command reads the address of a name and a descriptor of `union bpf_attr`.
    unsafe { bpf(RAW_TRACEPOINT_OPEN, &attributes) }
}
