//! Which helpers this kernel offers to tracing programs: one small program for each, loaded and thrown away.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, Iter},
};
use tcpstate_common::helper;

use super::{object::program, refusal::Refused};

/// Helpers, and the programs that call them.
const TRIALS: [(u32, &str); 5] = [
    (helper::SOCKET_COOKIE, "trial_socket_cookie"),
    (helper::SOCKET_FROM_FILE, "trial_socket_from_file"),
    (helper::TASK_REGISTERS, "trial_task_registers"),
    (helper::READ_KERNEL, "trial_read_kernel"),
    (helper::READ_USER, "trial_read_user"),
];

/// What was found.
#[derive(Debug)]
pub(super) struct Helpers {
    refused: Vec<(u32, Refused)>,
}

impl Helpers {
    /// Bits of every helper that is known here.
    pub(super) fn every() -> u32 {
        TRIALS.iter().fold(0, |bits, (bit, _)| bits | bit)
    }

    /// Tries each.
    pub(super) fn try_each(ebpf: &mut Ebpf, btf: &Btf) -> Self {
        let refused = TRIALS.into_iter().filter_map(|(bit, name)| {
            let tried =
                if bit == helper::SOCKET_FROM_FILE { try_iterator(ebpf, btf, name) } else { try_tp(ebpf, btf, name) };
            tried.err().map(|refusal| (bit, refusal))
        });
        Self { refused: refused.collect() }
    }

    /// Bits of those that this kernel offers.
    pub(super) fn bits(&self) -> u32 {
        self.refused.iter().fold(Self::every(), |bits, (bit, _)| bits & !bit)
    }

    /// Why the kernel does not offer this one, if so.
    pub(super) fn require(&self, helper: u32) -> Result<(), Refused> {
        match self.refused.iter().find(|(bit, _)| *bit == helper) {
            Some((_, refusal)) => Err(refusal.clone()),
            None => Ok(()),
        }
    }
}

fn try_tp(ebpf: &mut Ebpf, btf: &Btf, name: &str) -> Result<(), Refused> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program.load("tcp_destroy_sock", btf)?;
    program.unload()?;
    Ok(())
}

fn try_iterator(ebpf: &mut Ebpf, btf: &Btf, name: &str) -> Result<(), Refused> {
    let program: &mut Iter = program(ebpf, name)?;
    program.load("task_file", btf)?;
    program.unload()?;
    Ok(())
}
