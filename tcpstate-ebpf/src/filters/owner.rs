//! Filters on who owns a socket.

use tcpstate_common::{
    COMM_LEN,
    config::{MAX_COMMS, filter},
    event::TaskRecord,
};

use crate::{
    filters::followed,
    kernel::current,
    rodata::{config, filtering},
};

/// Whether the filters let this one pass.
#[inline(always)]
pub(crate) fn wants(owner: &TaskRecord) -> bool {
    (!filtering(filter::PID) || followed::contains(owner.tgid)) && (!filtering(filter::COMM) || is_named(&owner.comm))
}

/// Whether they let the running task pass. Not inlined: who runs fills a frame.
#[inline(never)]
pub(crate) fn wants_current() -> bool {
    !filtering(filter::PID | filter::COMM) || wants(&current::owner())
}

/// Whether the code of the running task may be looked at, which does something with a socket of `owner`: they want the task, or it is of the
/// owner's process, whatever its threads are called. Of a process that they leave out no stack is taken, also where it has a socket of
/// another one.
#[inline(never)]
pub(crate) fn wants_code_of_current(owner: &TaskRecord) -> bool {
    wants_current() || wants(owner) && current::is_of(owner)
}

#[inline(always)]
fn is_named(comm: &[u8; COMM_LEN]) -> bool {
    let halves = |name: &[u8; COMM_LEN]| u128::from_ne_bytes(*name);
    (0..MAX_COMMS).any(|i| (i as u32) < config!(comms_len) && halves(comm) == halves(&config!(comms[i])))
}
