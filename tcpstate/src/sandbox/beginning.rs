//! Programs that have just begun, until it is known what interprets them.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use tcpstate_common::interpreted::Begun;

/// Most that are waited for. Of others it is found out when a stack of theirs comes.
const MOST: usize = 4096;
/// How often one is looked into: for some 1.5 s.
const TRIES: u32 = 10;
/// How long an interpreter takes at least until it runs something.
const FIRST: Duration = Duration::from_millis(4);
/// Half of the time that passes from one look to the next, which doubles with each.
const BETWEEN: Duration = Duration::from_micros(1500);
/// How often that doubles: to 6 s.
const MOST_DOUBLINGS: u32 = 12;

/// Those that are waited for, by process: it has one program at a time.
#[derive(Debug, Default)]
pub(super) struct Beginning(BTreeMap<u32, Waiting>);

/// A program that is to be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) begun: Begun,
    /// Where its stack began at the look before: another one is another program.
    pub(super) start_stack: Option<u64>,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Nothing will come of another one.
    Over,
    /// The program with this start of its stack may have an interpreter later.
    NotYet(u64),
}

#[derive(Debug)]
struct Waiting {
    look: Look,
    tries: u32,
    /// `None` while it is being looked into.
    due: Option<Instant>,
    /// The process has begun another program meanwhile.
    anew: bool,
}

impl Beginning {
    /// Waits until the program may run something.
    pub(super) fn wait_for(&mut self, begun: Begun, now: Instant) {
        self.wait(begun, now + FIRST);
    }

    /// The same for one that has begun some time ago.
    pub(super) fn is_there(&mut self, begun: Begun, now: Instant) {
        self.wait(begun, now);
    }

    fn wait(&mut self, begun: Begun, due: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&begun.tgid) && !self.make_room() {
            return;
        }
        let look = Look { begun, start_stack: None };
        match self.0.entry(begun.tgid) {
            Entry::Occupied(mut known) if known.get().due.is_none() => known.get_mut().anew = true,
            Entry::Occupied(mut known) => *known.get_mut() = Waiting { look, tries: 0, due: Some(due), anew: false },
            Entry::Vacant(vacant) => drop(vacant.insert(Waiting { look, tries: 0, due: Some(due), anew: false })),
        }
    }

    /// Leaves one of the user who has most that wait. Returns whether there was one: those that are looked into keep their room, so that no
    /// more are on their way than there is room for.
    fn make_room(&mut self) -> bool {
        let waits = |(pid, waiting): (&u32, &Waiting)| waiting.due.map(|_| (waiting.look.begun.uid, *pid));
        let mut by_user = BTreeMap::<u32, Vec<u32>>::new();
        self.0.iter().filter_map(waits).for_each(|(uid, pid)| by_user.entry(uid).or_default().push(pid));
        let most = by_user.into_values().max_by_key(Vec::len);
        most.and_then(|pids| self.0.remove(pids.first()?)).is_some()
    }

    /// Time until one is due.
    pub(super) fn until_due(&self, now: Instant) -> Option<Duration> {
        self.0.values().filter_map(|waiting| Some(waiting.due?.saturating_duration_since(now))).min()
    }

    /// Those that are due. [`Self::looked`] has to be told what came of each.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Look> {
        let due = self.0.values_mut().filter(|waiting| waiting.due.is_some_and(|due| due <= now));
        due.map(|waiting| {
            waiting.due = None;
            waiting.look
        })
        .collect()
    }

    /// A look has come to this.
    pub(super) fn looked(&mut self, Look { begun, .. }: Look, came: Looked, now: Instant) {
        let Some(waiting) = self.0.get_mut(&begun.tgid).filter(|waiting| waiting.due.is_none()) else { return };
        if waiting.anew {
            *waiting =
                Waiting { look: Look { begun, start_stack: None }, tries: 0, due: Some(now + FIRST), anew: false };
            return;
        }
        waiting.tries += 1;
        match came {
            Looked::NotYet(start_stack) if waiting.tries < TRIES => {
                waiting.look.start_stack = Some(start_stack);
                waiting.due = Some(now + wait_after(waiting.tries));
            }
            Looked::NotYet(_) | Looked::Over => drop(self.0.remove(&begun.tgid)),
        }
    }
}

/// Time that passes after so many looks until the next one.
pub(super) fn wait_after(tries: u32) -> Duration {
    BETWEEN.saturating_mul(1 << tries.min(MOST_DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: Begun = Begun { tgid: 42, uid: 7 };

    #[test]
    fn looks_come_ever_less_often_and_end() {
        let mut beginning = Beginning::default();
        let start = Instant::now();
        assert_eq!(beginning.until_due(start), None);
        beginning.wait_for(PYTHON, start);
        let mut now = start;
        let mut at = Vec::new();
        while let Some(wait) = beginning.until_due(now) {
            assert!(wait.is_zero() || beginning.take_due(now).is_empty());
            now += wait;
            let [look] = beginning.take_due(now)[..] else { panic!("not one") };
            assert_eq!((look.begun, look.start_stack), (PYTHON, (!at.is_empty()).then_some(9)));
            at.push((now - start).as_millis());
            beginning.looked(look, Looked::NotYet(9), now);
        }
        assert_eq!(at, [4, 7, 13, 25, 49, 97, 193, 385, 769, 1537]);
        assert!(beginning.0.is_empty());
    }

    #[test]
    fn another_program_begins_anew_and_is_looked_into_once_at_a_time() {
        let mut beginning = Beginning::default();
        let now = Instant::now();
        beginning.is_there(PYTHON, now);
        let [look] = beginning.take_due(now)[..] else { panic!("not one") };
        (0..3).for_each(|_| beginning.is_there(PYTHON, now));
        assert!(beginning.take_due(now).is_empty() && beginning.until_due(now).is_none(), "it is being looked into");
        beginning.looked(look, Looked::Over, now);
        assert_eq!(beginning.until_due(now), Some(FIRST));
        let [look] = beginning.take_due(now + FIRST)[..] else { panic!("not one") };
        beginning.looked(look, Looked::Over, now);
        assert!(beginning.0.is_empty());
    }

    #[test]
    fn whoever_has_most_makes_room() {
        let mut beginning = Beginning::default();
        let now = Instant::now();
        (0..3).for_each(|tgid| beginning.is_there(Begun { tgid, uid: 8 }, now));
        (10..20_000).for_each(|tgid| beginning.is_there(Begun { tgid, uid: 7 }, now));
        let due = beginning.take_due(now);
        assert_eq!(due.len(), MOST);
        assert_eq!(due.iter().filter(|look| look.begun.uid == 8).count(), 3);
        beginning.is_there(Begun { tgid: 5, uid: 9 }, now);
        assert!(beginning.take_due(now).is_empty(), "all are being looked into");
        beginning.looked(due[0], Looked::Over, now);
        beginning.is_there(Begun { tgid: 5, uid: 9 }, now);
        assert_eq!(beginning.take_due(now).len(), 1);
    }
}
