//! Sockets in CLOSE_WAIT and ghost descriptors: which there are, since when, whose, opened where, and why.
//!
//! [`Leaks::push`] takes events as they happened, [`Leaks::reconcile`] repairs with a snapshot what lost events left wrong,
//! [`Leaks::survey`] says how things stand. No clock and no I/O.
//!
//! A socket takes less than 300 bytes, its entry in the index and its descriptor included; events allocate only for more
//! sockets than there ever were at a time, and for late closes of an origin that is new.

mod classify;
mod closed;
mod entry_time;
mod fate;
mod group;
mod infer;
mod keep;
mod kept;
mod openers;
mod options;
mod origin;
mod outcome;
mod process;
mod reconcile;
mod socket;
mod sum;
mod survey;
mod table;
mod tracker;
mod trend;
mod types;
#[cfg(test)]
mod world;

pub use self::{
    fate::Fate,
    group::{Ages, Backlog, Example, Group, Held, LeftByCounts, Peer, Range, Tallied, Teller},
    options::LeakOptions,
    origin::{Opening, Origin, Side},
    outcome::{LeakFinding, Outcome, Suspect},
    process::{LeakingProcess, Process},
    reconcile::Reconciled,
    tracker::Leaks,
    trend::{Forecast, Growth},
    types::{ClosedLate, LeakTotals, Observed, Survey},
};
