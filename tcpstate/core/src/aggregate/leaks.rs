//! Sockets in CLOSE_WAIT and ghost descriptors: which there are, since when, whose, opened where, and why.
//!
//! [`Leaks::push`] takes events as they happened, [`Leaks::reconcile`] repairs with a snapshot what lost events left wrong,
//! [`Leaks::survey`] says how things stand. No clock and no I/O.
//!
//! A socket takes less than 300 bytes, its entry in the index and its descriptor included; events allocate only for more
//! sockets than there ever were at a time, and for late closes of an origin that is new.

mod bounds;
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
mod places;
mod process;
mod reconcile;
mod socket;
mod sum;
mod sums;
mod survey;
mod table;
mod tally;
mod threads;
mod tracker;
mod trend;
mod trends;
mod types;
#[cfg(test)]
mod world;

pub use self::{
    bounds::{Beyond, Surplus},
    fate::Fate,
    group::{Ages, Backlog, Example, Group, Held, Inferred, LeftByCounts, Peer, Range, Teller},
    options::LeakOptions,
    origin::{Opening, Origin, Side},
    outcome::{LeakFinding, Outcome, Suspect},
    process::{LeakingProcess, Process},
    reconcile::Reconciled,
    tally::Tallied,
    threads::Threads,
    tracker::Leaks,
    trend::{Forecast, Growth},
    types::{ClosedLate, LeakTotals, Observed, Survey},
};
