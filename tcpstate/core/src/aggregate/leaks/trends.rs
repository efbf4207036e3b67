//! How the numbers of sockets of each kind change over time, for as many kinds as there is room.

use std::{cmp::Reverse, collections::BTreeMap};

use hashbrown::HashMap;

use super::{bounds::MOST_TRENDS, origin::Origin, trend::Series};
use crate::{aggregate::verdict::Verdict, model::MonotonicNs};

/// What makes sockets one kind.
pub(super) type SocketKind = (Origin, Verdict);

/// Numbers over time by kind.
#[derive(Debug, Default)]
pub(super) struct Trends {
    series: BTreeMap<SocketKind, Series>,
    /// Kinds that found no room when the last sample was taken.
    pub(super) unfollowed: u64,
}

impl Trends {
    /// Takes a sample of every kind, those that are empty now included. Where there is no room for new ones, those go that have been
    /// empty for longest; what is there now stays.
    pub(super) fn sample(&mut self, now: MonotonicNs, sockets: &HashMap<SocketKind, u64>) {
        for (kind, series) in &mut self.series {
            series.push(now, sockets.get(kind).copied().unwrap_or(0));
        }
        self.series.retain(|kind, series| sockets.contains_key(kind) || !series.is_empty());
        let news = sockets.iter().filter(|(kind, _)| !self.series.contains_key(*kind));
        let mut news: Vec<_> = news.map(|(&kind, &sockets)| (Reverse(sockets), kind)).collect();
        news.sort_unstable();
        self.make_room(news.len(), sockets);
        let room = MOST_TRENDS.saturating_sub(self.series.len());
        self.unfollowed = news.len().saturating_sub(room) as u64;
        for (Reverse(sockets), kind) in news.into_iter().take(room) {
            self.series.entry(kind).or_insert_with(Series::new).push(now, sockets);
        }
    }

    fn make_room(&mut self, wanted: usize, sockets: &HashMap<SocketKind, u64>) {
        let excess = (self.series.len() + wanted).saturating_sub(MOST_TRENDS);
        if excess == 0 {
            return;
        }
        let empty = self.series.iter().filter(|(kind, _)| !sockets.contains_key(*kind));
        let mut empty: Vec<_> = empty.map(|(&kind, series)| (series.last_seen(), kind)).collect();
        empty.sort_unstable();
        for (_, kind) in empty.into_iter().take(excess) {
            self.series.remove(&kind);
        }
    }

    pub(super) fn get(&self, kind: &SocketKind) -> Option<&Series> {
        self.series.get(kind)
    }
}
