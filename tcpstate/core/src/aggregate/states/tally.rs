//! Sockets by state, with their ages.

use std::collections::BTreeMap;

use super::types::StateRow;
use crate::model::{Age, State, census::ListedSocket};

/// Adds up sockets.
#[derive(Clone, Debug, Default)]
pub(super) struct StateTally {
    states: BTreeMap<State, InState>,
}

#[derive(Clone, Debug, Default)]
struct InState {
    sockets: u64,
    /// Lower bounds.
    at_least: Vec<u64>,
    /// Upper bounds; `u64::MAX` where there is none.
    at_most: Vec<u64>,
}

impl StateTally {
    pub(super) fn add(&mut self, socket: &ListedSocket) {
        let state = self.states.entry(socket.state).or_default();
        state.sockets += 1;
        if let Some(Age { at_least_ns, at_most_ns }) = socket.age {
            state.at_least.push(at_least_ns);
            state.at_most.push(at_most_ns.unwrap_or(u64::MAX));
        }
    }

    pub(super) fn sockets(&self) -> u64 {
        self.states.values().map(|state| state.sockets).sum()
    }

    pub(super) fn rows(self) -> Vec<StateRow> {
        self.states.into_iter().map(|(state, tally)| tally.row(state)).collect()
    }
}

impl InState {
    fn row(mut self, state: State) -> StateRow {
        // Whatever the true ages are between their bounds, those in order lie between the bounds in order.
        let [oldest, median] = [Rank::Last, Rank::Middle].map(|rank| {
            let at_least_ns = rank.of(&mut self.at_least)?;
            let at_most_ns = rank.of(&mut self.at_most).filter(|&at_most| at_most != u64::MAX);
            Some(Age { at_least_ns, at_most_ns })
        });
        StateRow { state, sockets: self.sockets, change: None, aged: self.at_least.len() as u64, oldest, median }
    }
}

#[derive(Clone, Copy)]
enum Rank {
    Last,
    /// The lower of two.
    Middle,
}

impl Rank {
    fn of(self, values: &mut [u64]) -> Option<u64> {
        let last = values.len().checked_sub(1)?;
        let index = match self {
            Self::Last => last,
            Self::Middle => last / 2,
        };
        Some(*values.select_nth_unstable(index).1)
    }
}
