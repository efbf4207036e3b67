//! Threads with the same stack, together.

use std::{collections::HashMap, hash::Hash};

/// Threads that share a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded<T, S> {
    /// The stack.
    pub stack: S,
    /// The threads, in the order they came.
    pub threads: Vec<T>,
}

/// Puts threads with equal stacks together: the stack with most threads first, among equals the one that came first.
pub fn fold<T, S: Clone + Eq + Hash>(threads: impl IntoIterator<Item = (T, S)>) -> Vec<Folded<T, S>> {
    let mut folded: Vec<Folded<T, S>> = Vec::new();
    let mut known = HashMap::new();
    for (thread, stack) in threads {
        let index = *known.entry(stack).or_insert_with_key(|stack| {
            folded.push(Folded { stack: stack.clone(), threads: Vec::new() });
            folded.len() - 1
        });
        folded[index].threads.push(thread);
    }
    folded.sort_by_key(|folded| std::cmp::Reverse(folded.threads.len()));
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_threads_first() {
        let folded = fold([(1, "read"), (2, "futex"), (3, "accept"), (4, "futex"), (5, "read"), (6, "futex")]);
        let expected = [("futex", vec![2, 4, 6]), ("read", vec![1, 5]), ("accept", vec![3])];
        assert_eq!(folded, expected.map(|(stack, threads)| Folded { stack, threads }));
        assert_eq!(fold::<u32, &str>([]), []);
    }
}
