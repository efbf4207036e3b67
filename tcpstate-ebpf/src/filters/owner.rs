//! Filters on who owns a socket.

use tcpstate_common::{
    COMM_LEN,
    config::{MAX_COMMS, filter},
    event::TaskRecord,
};

use crate::{
    filters::followed,
    rodata::{config, filtering},
};

/// Whether the filters let this one pass.
#[inline(always)]
pub(crate) fn wants(owner: &TaskRecord) -> bool {
    (!filtering(filter::PID) || followed::contains(owner.tgid)) && (!filtering(filter::COMM) || is_named(&owner.comm))
}

#[inline(always)]
fn is_named(comm: &[u8; COMM_LEN]) -> bool {
    let halves = |name: &[u8; COMM_LEN]| u128::from_ne_bytes(*name);
    (0..MAX_COMMS).any(|i| (i as u32) < config!(comms_len) && halves(comm) == halves(&config!(comms[i])))
}
