//! Filters on who owns a socket.

use tcpstate_common::{
    COMM_LEN,
    config::{MAX_COMMS, filter},
    event::Owner,
};

use crate::{
    maps::PIDS,
    rodata::{config, filtering},
};

/// Whether the filters on owners let this one pass.
#[inline(always)]
pub(crate) fn wanted(owner: &Owner) -> bool {
    (!filtering(filter::PID) || followed(owner.tgid)) && (!filtering(filter::COMM) || named(&owner.comm))
}

/// Whether a process is one of `--pid` or, with `--children`, a descendant.
#[inline(always)]
pub(crate) fn followed(tgid: u32) -> bool {
    PIDS.get_ptr(tgid).is_some()
}

#[inline(always)]
fn named(comm: &[u8; COMM_LEN]) -> bool {
    let halves = |name: &[u8; COMM_LEN]| u128::from_ne_bytes(*name);
    (0..MAX_COMMS).any(|i| (i as u32) < config!(comms_len) && halves(comm) == halves(&config!(comms[i])))
}
