//! What changed between two counts.

use std::collections::BTreeMap;

use super::types::{GroupRow, SocketCounts, StateRow};
use crate::model::State;

impl SocketCounts {
    /// Says of every count how much more it is than in `before`. What was there before and is not now stays as a row of 0.
    pub fn compare(&mut self, before: &Self) {
        self.sockets_before = Some(before.sockets);
        states(&mut self.states, &before.states);
        let mut gone: BTreeMap<_, _> = before.groups.iter().map(|group| (group.key, group)).collect();
        for group in &mut self.groups {
            let earlier = gone.remove(&group.key);
            group.change = Some(difference(group.sockets, earlier.map_or(0, |group| group.sockets)));
            states(&mut group.states, earlier.map_or(&[], |group| &group.states));
        }
        let gone = gone.into_values().filter(|group| group.sockets > 0);
        self.groups.extend(gone.map(|group| {
            let mut rows = Vec::new();
            states(&mut rows, &group.states);
            let change = Some(difference(0, group.sockets));
            GroupRow { key: group.key, name: group.name.clone(), sockets: 0, change, states: rows }
        }));
        self.groups.sort_by(GroupRow::larger_first);
        for namespace in &mut self.namespaces {
            let earlier = before.namespaces.iter().find(|earlier| earlier.inode == namespace.inode);
            let change = |now: Option<u64>, before: Option<u64>| Some(difference(now?, before?));
            namespace.overflows_change =
                change(namespace.listen_overflows, earlier.and_then(|earlier| earlier.listen_overflows));
            namespace.drops_change = change(namespace.listen_drops, earlier.and_then(|earlier| earlier.listen_drops));
        }
    }
}

fn states(now: &mut Vec<StateRow>, before: &[StateRow]) {
    let mut gone: BTreeMap<State, u64> = before.iter().map(|row| (row.state, row.sockets)).collect();
    for row in &mut *now {
        row.change = Some(difference(row.sockets, gone.remove(&row.state).unwrap_or(0)));
    }
    now.extend(gone.into_iter().filter(|&(_, sockets)| sockets > 0).map(|(state, sockets)| StateRow {
        state,
        sockets: 0,
        change: Some(difference(0, sockets)),
        aged: 0,
        oldest: None,
        median: None,
    }));
    now.sort_by_key(|row| row.state);
}

fn difference(now: u64, before: u64) -> i64 {
    i64::try_from(i128::from(now) - i128::from(before)).unwrap_or(if now > before { i64::MAX } else { i64::MIN })
}
