//! Which threads opened the sockets of a kind.

use super::tally::{Tallied, Tally};
use crate::model::{Comm, Owner, OwnerSource};

/// Threads told apart. Of more it is known only that there are more.
const MOST: usize = 16;
/// Names shown.
const NAMES: usize = 3;

/// Threads that opened sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// How many; none where nobody has seen the opening.
    pub number: usize,
    /// Whether there may be more.
    pub more: bool,
    /// Their names, with the numbers of sockets that those of one name opened.
    pub names: Tallied<Comm>,
}

/// Threads as they are counted.
#[derive(Clone, Debug, Default)]
pub(super) struct ThreadTally {
    names: Tally<Comm>,
    tids: [u32; MOST],
    number: usize,
    more: bool,
}

impl ThreadTally {
    /// Counts the owner of a socket, if it was seen to open it.
    pub(super) fn add(&mut self, owner: Option<Owner>) {
        let opens = |owner: &Owner| matches!(owner.source, OwnerSource::Connect | OwnerSource::Accept);
        if let Some(owner) = owner.filter(opens) {
            self.names.extend([owner.comm]);
            self.add_tid(owner.tid);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.names.merge(&other.names);
        other.tids[..other.number].iter().for_each(|&tid| self.add_tid(tid));
        self.more |= other.more;
    }

    fn add_tid(&mut self, tid: u32) {
        if self.tids[..self.number].contains(&tid) {
            return;
        }
        match self.tids.get_mut(self.number) {
            Some(place) => {
                *place = tid;
                self.number += 1;
            }
            None => self.more = true,
        }
    }

    pub(super) fn threads(&self) -> Threads {
        let (top, others) = self.names.top(NAMES, |name| name);
        Threads { number: self.number, more: self.more, names: Tallied { top, others } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(tid: u32, name: &[u8], source: OwnerSource) -> Option<Owner> {
        let mut comm = [0; 16];
        comm[..name.len()].copy_from_slice(name);
        Some(Owner { pid: 1, tid, start: None, comm: Comm(comm), source })
    }

    #[test]
    fn threads_that_opened_are_told_apart_as_far_as_there_is_room() {
        let mut tally = ThreadTally::default();
        tally.add(owner(7, b"a", OwnerSource::Accept));
        tally.add(owner(7, b"a", OwnerSource::Accept));
        tally.add(owner(8, b"a", OwnerSource::Connect));
        // Who held it when the trace began need not have opened it.
        tally.add(owner(9, b"b", OwnerSource::Snapshot));
        tally.add(owner(9, b"b", OwnerSource::Listen));
        tally.add(None);
        let Threads { number, more, names } = tally.threads();
        assert_eq!((number, more, names.top.len(), names.top[0].1), (2, false, 1, 3));
        let mut many = ThreadTally::default();
        (0..20).for_each(|tid| many.add(owner(tid, b"a", OwnerSource::Accept)));
        many.merge(&tally);
        assert_eq!((many.threads().number, many.threads().more), (MOST, true));
    }
}
