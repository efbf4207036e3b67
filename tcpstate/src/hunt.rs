//! The engine of `leaks`, `run` and `record`.

pub(crate) mod intake;
mod naming;
pub(crate) mod sleepers;
mod snapshot;
pub(crate) mod stacks;

use std::time::Duration;

/// How often events and stacks are fetched: a stack has to be unwound while its process lives.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// The buffer fills to this part before its reader is woken ahead of the tick.
pub(crate) const WAKEUP_PART: u32 = 4;
/// How often snapshots repair what events may have left wrong, at least.
pub(crate) const RECONCILE: Duration = Duration::from_secs(10);
