//! Landlock: no access to any file but by a descriptor that is there already (Linux 5.13), no TCP (6.7), no signals and no abstract
//! sockets of others (6.12).

use anyhow::{Context as _, Result};
use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetStatus, Scope};

/// The newest version whose rights are asked for; an older kernel takes those that it knows.
const NEWEST: ABI = ABI::V6;

/// Gives up every right that Landlock knows of, for good. Returns whether the kernel has it.
///
/// # Errors
///
/// Where the kernel has it and refuses.
pub(super) fn allow_nothing() -> Result<bool> {
    let nothing = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.restrict_self())
        .context("failed to give up access to files by Landlock")?;
    Ok(nothing.ruleset != RulesetStatus::NotEnforced)
}
