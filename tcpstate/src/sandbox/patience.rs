//! How long reading may take.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// CPU time that the worker may use for one task, and time that it may wait for a disk or whatever else there is behind a file. The debug
/// info of the largest programs takes a second or so; without optimization more.
const MOST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 2 });
/// The same of a user whose programs have taken too long many times.
const LEAST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 150 } else { 50 });
/// How many failures are as many as none.
const FREE: u32 = 2;
/// After this long, one failure is forgotten.
const FORGIVEN: Duration = Duration::from_secs(60);
/// Most users that are remembered.
const MOST_USERS: usize = 1024;

/// How patient one is with the programs of each user: half as much with each that has failed. So whatever one user's programs do, those
/// of others get their names soon.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: HashMap<u32, (u32, Instant)>,
}

/// How long one task may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskLimits {
    /// CPU time, and time that it waits for something else than a CPU: on a busy machine that takes as long as it takes.
    pub(super) each: Duration,
    /// Time that passes, whatever it does then.
    pub(super) all: Duration,
}

impl TaskLimits {
    /// What is there to be read is little.
    pub(super) const OF_BROKER: Self = Self { each: Duration::from_secs(2), all: ALL };
    /// Nobody wants to know any more.
    pub(super) const HURRY: Self = Self { each: Duration::from_secs(1), all: Duration::from_secs(5) };
}

/// Time that may pass in all, on the busiest machine.
const ALL: Duration = Duration::from_secs(60);

impl Patience {
    /// How long a task may take that is about a program of this user.
    pub(super) fn limits(&self, user: Option<u32>, now: Instant) -> TaskLimits {
        let failures = user.map_or(0, |user| self.count(user, now)).saturating_sub(FREE);
        TaskLimits { each: (MOST / (1 << failures.min(16))).max(LEAST), all: ALL }
    }

    /// Whether programs of this user have failed so often that one is as little patient as one ever is.
    pub(super) fn is_used_up(&self, user: Option<u32>, now: Instant) -> bool {
        self.limits(user, now).each == LEAST
    }

    /// A task about a program of this user has failed.
    pub(super) fn failed(&mut self, user: Option<u32>, now: Instant) {
        let Some(user) = user else { return };
        let failures = self.count(user, now) + 1;
        if self.failures.len() >= MOST_USERS {
            self.failures.clear();
        }
        self.failures.insert(user, (failures, now));
    }

    fn count(&self, user: u32, now: Instant) -> u32 {
        self.failures.get(&user).map_or(0, |&(failures, last)| {
            let forgiven = now.saturating_duration_since(last).as_secs() / FORGIVEN.as_secs();
            failures.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_as_long_with_each_failure_and_longer_again() {
        let mut patience = Patience::default();
        let now = Instant::now();
        for _ in 0..FREE {
            patience.failed(Some(7), now);
        }
        assert_eq!(patience.limits(Some(7), now).each, MOST);
        patience.failed(Some(7), now);
        assert_eq!(patience.limits(Some(7), now).each, MOST / 2);
        (0..100).for_each(|_| patience.failed(Some(7), now));
        assert_eq!(patience.limits(Some(7), now).each, LEAST);
        assert_eq!(patience.limits(Some(8), now).each, MOST, "another user");
        assert!(patience.is_used_up(Some(7), now) && !patience.is_used_up(Some(8), now));
        assert_eq!(patience.limits(None, now).each, MOST);
        assert_eq!(patience.limits(Some(7), now + FORGIVEN * 102).each, MOST);
    }
}
