//! What the thread is to do: what somebody waits for first, then copies, and programs that begin.
//!
//! Of users the one comes next who was worked for least, so that whoever has ever so many stacks copied, or such as take long, delays
//! his own.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Most users of whom it is remembered how long one has worked for them.
const MOST_USERS: usize = 4096;
/// Most bytes of copies that wait. Beyond that, those of whoever has most of them are left.
const MOST_BYTES: usize = 16 << 20;

/// Work for the thread.
#[derive(Debug)]
pub(super) struct Queue<A, C> {
    waiting: Mutex<Waiting<A, C>>,
    came: Condvar,
}

#[derive(Debug)]
struct Waiting<A, C> {
    asks: VecDeque<A>,
    /// By user; of none there is nothing.
    copies: BTreeMap<u32, Line<C>>,
    /// How long one has worked for users since nothing was left to do.
    worked: BTreeMap<u32, Duration>,
    /// Of all users.
    bytes: usize,
    /// Something outside of the queue is to be looked at.
    woken: bool,
    closed: bool,
}

/// Copies of one user, oldest first.
#[derive(Debug)]
struct Line<C> {
    copies: VecDeque<(C, usize)>,
    bytes: usize,
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<A, C> {
    /// Somebody waits for this.
    Ask(A),
    /// This is to be done for a user.
    Work(C),
    /// Nothing has come for so long, or somebody has woken whoever waits.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

impl<A, C> Default for Queue<A, C> {
    fn default() -> Self {
        let waiting = Waiting {
            asks: VecDeque::new(),
            copies: BTreeMap::new(),
            worked: BTreeMap::new(),
            bytes: 0,
            woken: false,
            closed: false,
        };
        Self { waiting: Mutex::new(waiting), came: Condvar::new() }
    }
}

impl<A, C> Queue<A, C> {
    fn lock(&self) -> MutexGuard<'_, Waiting<A, C>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for something.
    pub(super) fn ask(&self, ask: A) {
        self.lock().asks.push_back(ask);
        self.came.notify_one();
    }

    /// Hands over a copy of so many bytes of a user's program. Returns those that there is no room for.
    pub(super) fn add(&self, user: u32, copy: C, bytes: usize) -> Vec<C> {
        let mut waiting = self.lock();
        waiting.push(user, copy, bytes);
        let mut left = Vec::new();
        while waiting.bytes > MOST_BYTES
            && let Some(copy) = waiting.leave()
        {
            left.push(copy);
        }
        drop(waiting);
        self.came.notify_one();
        left
    }

    /// Puts something before all else that waits for a user. There has to be a bound to how much that is: it takes no room from copies.
    pub(super) fn add_first(&self, user: u32, work: C) {
        self.lock().line(user).copies.push_front((work, 0));
        self.came.notify_one();
    }

    /// Has whoever waits for what is next come back at once.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.came.notify_one();
    }

    /// Says that the last copy of a user took so long.
    pub(super) fn took(&self, user: u32, time: Duration) {
        self.lock().took(user, time);
    }

    /// Says that nothing will come any more. What waits is left.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.came.notify_one();
    }

    /// Waits for what is next, at most so long.
    pub(super) fn next(&self, patience: Duration) -> Next<A, C> {
        let is_empty = |waiting: &mut Waiting<A, C>| {
            waiting.asks.is_empty() && waiting.copies.is_empty() && !waiting.woken && !waiting.closed
        };
        let waited = self.came.wait_timeout_while(self.lock(), patience, is_empty);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.woken = false;
        if waiting.closed {
            return Next::Closed;
        }
        if let Some(ask) = waiting.asks.pop_front() {
            return Next::Ask(ask);
        }
        waiting.pop().map_or(Next::Nothing, Next::Work)
    }
}

impl<A, C> Waiting<A, C> {
    fn line(&mut self, user: u32) -> &mut Line<C> {
        self.copies.entry(user).or_insert_with(|| Line { copies: VecDeque::new(), bytes: 0 })
    }

    fn push(&mut self, user: u32, copy: C, bytes: usize) {
        let line = self.line(user);
        line.copies.push_back((copy, bytes));
        line.bytes += bytes;
        self.bytes += bytes;
    }

    fn took(&mut self, user: u32, time: Duration) {
        if self.copies.is_empty() || self.worked.len() >= MOST_USERS {
            self.worked.clear();
            return;
        }
        *self.worked.entry(user).or_default() += time;
    }

    fn worked(&self, user: u32) -> Duration {
        self.worked.get(&user).copied().unwrap_or_default()
    }

    /// The oldest of the user whose turn it is.
    fn pop(&mut self) -> Option<C> {
        let user = self.copies.keys().copied().min_by_key(|&user| self.worked(user))?;
        self.take(user, VecDeque::pop_front)
    }

    /// The newest of whoever has most.
    fn leave(&mut self) -> Option<C> {
        let (&user, _) = self.copies.iter().max_by_key(|(_, line)| line.bytes)?;
        self.take(user, VecDeque::pop_back)
    }

    fn take(&mut self, user: u32, end: impl FnOnce(&mut VecDeque<(C, usize)>) -> Option<(C, usize)>) -> Option<C> {
        let line = self.copies.get_mut(&user)?;
        let (copy, bytes) = end(&mut line.copies)?;
        line.bytes -= bytes;
        self.bytes -= bytes;
        if line.copies.is_empty() {
            self.copies.remove(&user);
        }
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn what_somebody_waits_for_comes_first() {
        let queue = Queue::default();
        assert_eq!(queue.next(SOON), Next::<&str, u32>::Nothing);
        assert!(queue.add(7, 1, 10).is_empty() && queue.add(7, 2, 10).is_empty());
        queue.ask("names");
        assert_eq!([(); 3].map(|()| queue.next(SOON)), [Next::Ask("names"), Next::Work(1), Next::Work(2)]);
        assert!(queue.add(7, 4, 1).is_empty());
        queue.close();
        assert_eq!(queue.next(SOON), Next::Closed);
    }

    #[test]
    fn what_comes_first_for_a_user_leaves_room_to_copies() {
        let queue = Queue::<(), _>::default();
        assert!(queue.add(7, 1, MOST_BYTES).is_empty());
        (10..13).for_each(|work| queue.add_first(7, work));
        assert_eq!(queue.add(7, 2, 1), [2]);
        assert_eq!(
            [(); 5].map(|()| queue.next(SOON)),
            [12, 11, 10, 1].map(Next::Work).into_iter().chain([Next::Nothing]).collect::<Vec<_>>()[..]
        );
        queue.wake();
        assert_eq!([(); 2].map(|()| queue.next(SOON)), [Next::Nothing, Next::Nothing]);
    }

    #[test]
    fn whoever_was_worked_for_least_comes_next() {
        let queue = Queue::<(), _>::default();
        ["a1", "a2", "a3", "a4"].into_iter().for_each(|copy| drop(queue.add(7, copy, 1)));
        ["b1", "b2", "b3"].into_iter().for_each(|copy| drop(queue.add(8, copy, 1)));
        let times = [(7, 10), (8, 3), (8, 5), (8, 4), (7, 1), (7, 1), (7, 1)];
        let order = times.map(|(user, time)| {
            let next = queue.next(SOON);
            queue.took(user, Duration::from_secs(time));
            next
        });
        assert_eq!(order, ["a1", "b1", "b2", "b3", "a2", "a3", "a4"].map(Next::Work));
        assert_eq!(queue.next(SOON), Next::Nothing);
        assert!(queue.lock().worked.is_empty(), "all begin anew");
    }

    #[test]
    fn whoever_has_most_makes_room() {
        let queue = Queue::<(), _>::default();
        let quarter = MOST_BYTES / 4;
        assert!((0..3).all(|copy| queue.add(7, copy, quarter).is_empty()));
        assert_eq!(queue.add(8, 10, quarter + 1), [2]);
        assert_eq!(queue.add(7, 3, quarter), [3], "its own");
        assert!(queue.add(8, 11, quarter - 2).is_empty());
        assert_eq!(
            [(); 5].map(|()| queue.next(SOON)),
            [Next::Work(0), Next::Work(1), Next::Work(10), Next::Work(11), Next::Nothing]
        );
        assert_eq!(queue.add(9, 12, MOST_BYTES + 1), [12], "more than there is room for");
    }
}
