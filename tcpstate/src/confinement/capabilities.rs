//! Capability sets of a thread (`capabilities(7)`).

use anyhow::{Context as _, Result};
use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities,
    },
};

/// The capabilities of this thread.
///
/// # Errors
///
/// Those of `capget(2)`.
pub(super) fn held() -> Result<CapabilitySets> {
    capabilities(None).context("failed to read the capabilities of this process")
}

/// Leaves a thread these capabilities at most: `effective` to be used, and `permitted` besides for what it executes. What it does
/// not have it does not get. What it may inherit shrinks with it, and so does the ambient set (`cap_capset()`,
/// `security/commoncap.c`).
///
/// # Errors
///
/// Those of `capset(2)`; giving up is never refused but by a filter of system calls.
pub(super) fn keep(effective: CapabilitySet, permitted: CapabilitySet) -> Result<()> {
    let had = held()?;
    let permitted = had.permitted & (effective | permitted);
    let sets = CapabilitySets { effective: permitted & effective, permitted, inheritable: had.inheritable & permitted };
    set_capabilities(None, sets).context("failed to give up capabilities")
}

/// Leaves a thread no capability.
///
/// # Errors
///
/// As of `capset(2)`.
pub fn give_up_all() -> Result<()> {
    let none = CapabilitySet::empty();
    shrink_bounding_set(none)?;
    keep(none, none)?;
    clear_ambient_capability_set().context("failed to clear the ambient capabilities")
}

/// Takes all capabilities but these out of the bounding set. Who may not (`CAP_SETPCAP`) has it as it was: with `no_new_privs`, which
/// every caller sets, nothing is gained from it.
///
/// # Errors
///
/// Where the kernel refuses for another reason.
pub(super) fn shrink_bounding_set(kept: CapabilitySet) -> Result<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !kept.contains(capability) => {}
            Ok(_) => continue,
            // Beyond the last one that this kernel knows.
            Err(Errno::INVAL) => return Ok(()),
            Err(error) => return Err(error).context("failed to read the bounding set of capabilities"),
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::PERM) => return Ok(()),
            Err(error) => return Err(error).context("failed to shrink the bounding set of capabilities"),
        }
    }
    Ok(())
}
