//! Programs that have just begun, until it is known what interprets them.

use std::time::{Duration, Instant};

use tcpstate_common::interpreted::Begun;

/// Most that are waited for. Of others it is found out when a stack of theirs comes.
const MOST: usize = 1024;
/// How often one is looked into: for some 1.5 s.
const TRIES: u32 = 10;
/// How long an interpreter takes at least until it runs something.
const FIRST: Duration = Duration::from_millis(4);
/// Half of the time that passes from one look to the next, which doubles with each.
const BETWEEN: Duration = Duration::from_micros(1500);

/// Those that are waited for.
#[derive(Debug, Default)]
pub(super) struct Beginning(Vec<Waiting>);

/// A program, and how often it was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) begun: Begun,
    tries: u32,
}

#[derive(Debug)]
struct Waiting {
    look: Look,
    due: Instant,
}

impl Beginning {
    /// Waits until the program may run something.
    pub(super) fn wait_for(&mut self, begun: Begun, now: Instant) {
        self.wait(Look { begun, tries: 0 }, now + FIRST);
    }

    /// The same for one that has begun some time ago.
    pub(super) fn is_there(&mut self, begun: Begun, now: Instant) {
        self.wait(Look { begun, tries: 0 }, now);
    }

    /// One has shown nothing: waits until it may.
    pub(super) fn again(&mut self, Look { begun, tries }: Look, now: Instant) {
        let tries = tries + 1;
        if tries < TRIES {
            self.wait(Look { begun, tries }, now + wait_after(tries));
        }
    }

    fn wait(&mut self, look: Look, due: Instant) {
        if self.0.len() < MOST {
            self.0.push(Waiting { look, due });
        }
    }

    /// Time until one is due.
    pub(super) fn until_due(&self, now: Instant) -> Option<Duration> {
        self.0.iter().map(|waiting| waiting.due.saturating_duration_since(now)).min()
    }

    /// Those that are due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Look> {
        let due = self.0.extract_if(.., |waiting| waiting.due <= now);
        due.map(|waiting| waiting.look).collect()
    }
}

/// Time that passes after so many looks until the next one.
pub(super) fn wait_after(tries: u32) -> Duration {
    BETWEEN.saturating_mul(1 << tries.min(TRIES))
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
            assert_eq!(look.begun, PYTHON);
            at.push((now - start).as_millis());
            beginning.again(look, now);
        }
        assert_eq!(at, [4, 7, 13, 25, 49, 97, 193, 385, 769, 1537]);
    }

    #[test]
    fn there_is_an_end_to_those_that_are_waited_for() {
        let mut beginning = Beginning::default();
        let now = Instant::now();
        (0..5000).for_each(|tgid| beginning.is_there(Begun { tgid, uid: 7 }, now));
        assert_eq!(beginning.take_due(now).len(), MOST);
        assert_eq!(beginning.until_due(now), None);
    }
}
