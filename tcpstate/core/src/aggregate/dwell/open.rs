//! Stays that have not ended: the state that each socket was seen to enter last.

use std::num::NonZeroU64;

use hashbrown::HashMap;
use tcpstate_common::state::TcpState;

use crate::model::{MonotonicNs, State, Transition};

/// Stays kept, some 50 MiB of them. Where there are more sockets, or ends are lost, the rest is counted.
const MOST: usize = 1 << 20;

/// Each stay by the id of its socket. What has come to CLOSE stays in no state.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenStays {
    stays: HashMap<NonZeroU64, (State, MonotonicNs)>,
    /// States of which ends are told; 0 for all.
    states: u32,
    not_kept: u64,
}

impl OpenStays {
    pub(super) fn of_states(states: u32) -> Self {
        Self { states, ..Self::default() }
    }

    pub(super) fn record(&mut self, transition: &Transition) {
        let Some(id) = transition.id else { return };
        if transition.new == State::Known(TcpState::Close) || !self.tells_ends_of(transition.new) {
            self.stays.remove(&id);
        } else if self.stays.len() < MOST || self.stays.contains_key(&id) {
            self.stays.insert(id, (transition.new, transition.at));
        } else {
            self.not_kept += 1;
        }
    }

    pub(super) fn stays(&self) -> impl Iterator<Item = (State, MonotonicNs)> {
        self.stays.values().copied()
    }

    pub(super) fn not_kept(&self) -> u64 {
        self.not_kept
    }

    fn tells_ends_of(&self, state: State) -> bool {
        let bit = match state {
            State::Known(state) => state.bit(),
            State::Unknown(_) => 0,
        };
        self.states == 0 || self.states & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::dwell::{DwellRow, DwellTable, tests},
        model::Dwell,
    };

    const ESTABLISHED: TcpState = TcpState::Established;
    const CLOSE_WAIT: TcpState = TcpState::CloseWait;
    const LAST_ACK: TcpState = TcpState::LastAck;
    const CLOSE: TcpState = TcpState::Close;

    fn transition(id: u64, at: u64, old: TcpState, new: TcpState) -> Transition {
        let any = tests::transition(State::Known(old), State::Known(new), Dwell::Unknown);
        Transition { at: MonotonicNs(at), id: NonZeroU64::new(id), ..any }
    }

    fn open(mut table: DwellTable, transitions: &[Transition], now: u64) -> Vec<(State, u64, u64)> {
        transitions.iter().for_each(|transition| table.record(transition));
        let rows = table.rows(MonotonicNs(now)).into_iter();
        rows.map(|DwellRow { state, open, open_max_ns, .. }| (state, open, open_max_ns)).collect()
    }

    #[test]
    fn what_has_not_been_left_is_open() {
        let transitions = [
            transition(1, 10, TcpState::SynSent, ESTABLISHED),
            transition(1, 20, ESTABLISHED, CLOSE_WAIT),
            transition(2, 30, ESTABLISHED, CLOSE_WAIT),
            transition(3, 40, ESTABLISHED, CLOSE_WAIT),
            transition(3, 50, CLOSE_WAIT, LAST_ACK),
            transition(3, 60, LAST_ACK, CLOSE),
            transition(4, 70, TcpState::SynSent, ESTABLISHED),
            // Its story found no room.
            transition(0, 80, ESTABLISHED, CLOSE_WAIT),
        ];
        let rows = open(DwellTable::default(), &transitions, 100);
        assert_eq!(rows, [(State::Known(ESTABLISHED), 1, 30), (State::Known(CLOSE_WAIT), 2, 80)]);
    }

    #[test]
    fn states_whose_end_is_not_told_are_not_said_to_be_open() {
        let transitions = [
            transition(1, 10, ESTABLISHED, CLOSE_WAIT),
            transition(2, 20, ESTABLISHED, CLOSE_WAIT),
            transition(2, 30, CLOSE_WAIT, LAST_ACK),
        ];
        let rows = open(DwellTable::of_states(CLOSE_WAIT.bit()), &transitions, 100);
        assert_eq!(rows, [(State::Known(CLOSE_WAIT), 1, 90)]);
    }

    #[test]
    fn lost_ends_do_not_fill_the_memory() {
        let mut stays = OpenStays::default();
        for id in 1..=MOST as u64 + 5 {
            stays.record(&transition(id, id, ESTABLISHED, CLOSE_WAIT));
        }
        // One that is known goes on.
        stays.record(&transition(1, 9, CLOSE_WAIT, LAST_ACK));
        assert_eq!((stays.stays.len(), stays.not_kept()), (MOST, 5));
    }
}
