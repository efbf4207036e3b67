//! The stacks of a recording, as many as there is room for.

use std::{collections::BTreeSet, sync::Arc};

use tcpstate_core::{
    aggregate::stack_book::StackBook,
    model::{
        leak::PlaceId,
        stack::{Frame, Stack},
    },
};

/// What stacks may take, bytes, about: 20,000 of them with 15 frames each.
const ROOM: usize = 64 << 20;

/// Stacks by place. Where there are too many, those of code that leaks nothing at that time are let go of.
#[derive(Debug)]
pub(super) struct KeptStacks {
    book: StackBook,
    room: usize,
    /// What they take.
    bytes: usize,
    /// What they took when some were let go of last.
    after_letting_go: usize,
    left_out: u64,
}

impl KeptStacks {
    pub(super) fn new() -> Self {
        Self::with_room(ROOM)
    }

    fn with_room(room: usize) -> Self {
        Self { book: StackBook::with_room(usize::MAX), room, bytes: 0, after_letting_go: 0, left_out: 0 }
    }

    /// Keeps a stack, if need be in place of those that are not of these places.
    pub(super) fn insert(&mut self, place: PlaceId, stack: Arc<Stack>, needed: impl FnOnce() -> BTreeSet<PlaceId>) {
        let more = taken(&stack);
        // Not for each stack, where most are needed.
        if self.bytes + more > self.room && self.after_letting_go <= self.room / 2 {
            self.let_go(&needed());
        }
        if self.bytes + more > self.room {
            self.left_out += 1;
            return;
        }
        self.bytes += more;
        self.bytes -= self.book.get(place).map_or(0, |before| taken(before));
        self.book.insert(place, stack);
    }

    fn let_go(&mut self, needed: &BTreeSet<PlaceId>) {
        let before = self.book.len();
        self.book.retain(needed);
        self.left_out += (before - self.book.len()) as u64;
        self.bytes = self.book.stacks().map(|stack| taken(stack)).sum();
        self.after_letting_go = self.bytes;
    }

    pub(super) fn book(&self) -> &StackBook {
        &self.book
    }

    /// How many are not in the book, in words.
    pub(super) fn left_out(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            format!(
                "{} stacks were left out: the recording has more than the {} MiB of them that are kept; where code leaked nothing \
                 at that time and does later, its stack is missing",
                self.left_out,
                self.room >> 20
            )
        })
    }
}

/// What a stack takes, bytes, about: itself, and what tells which stacks are alike.
fn taken(stack: &Stack) -> usize {
    let of_frame = |frame: &Frame| {
        let function = frame.function.as_ref().map_or(0, String::len);
        let source = frame.source.as_ref().map_or(0, |source| source.file.as_os_str().len());
        let module = frame.module.as_ref().map_or(0, |module| module.as_os_str().len());
        size_of::<Frame>() + function + source + module
    };
    let frames: usize = stack.frames.iter().map(of_frame).sum();
    let kernel: usize = stack.kernel.iter().map(|name| size_of::<String>() + name.len()).sum();
    let words = [&stack.truncated, &stack.hint].into_iter().flatten().map(String::len).sum::<usize>();
    2 * (size_of::<Stack>() + frames + words) + kernel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(function: u64) -> Arc<Stack> {
        let function = Some(format!("function_{function}"));
        let frame = Frame { function, source: None, module: None, offset: 0, inlined: false, runtime: false };
        Arc::new(Stack { frames: vec![frame], ..Stack::default() })
    }

    #[test]
    fn what_leaks_keeps_its_stacks() {
        let mut stacks = KeptStacks::with_room(100 * taken(&stack(100)));
        for place in 0..1000 {
            stacks.insert(PlaceId(place), stack(place), || [PlaceId(1), PlaceId(2)].into());
        }
        assert!([1, 2, 999].map(PlaceId).iter().all(|&place| stacks.book().get(place).is_some()));
        assert!(stacks.book().len() <= 101 && stacks.bytes <= stacks.room, "{}", stacks.book().len());
        let words = stacks.left_out().expect("some are left out");
        assert!(words.starts_with(&format!("{} stacks were left out", 1000 - stacks.book().len())), "{words}");
    }

    #[test]
    fn where_all_are_needed_later_ones_are_left_out() {
        let mut stacks = KeptStacks::with_room(100 * taken(&stack(100)));
        let mut asked = 0;
        for place in 0..1000 {
            stacks.insert(PlaceId(place), stack(place), || {
                asked += 1;
                (0..1000).map(PlaceId).collect()
            });
        }
        assert!(stacks.book().get(PlaceId(1)).is_some() && stacks.book().get(PlaceId(999)).is_none());
        assert!(asked < 3, "asked {asked} times");
        let before = stacks.bytes;
        stacks.insert(PlaceId(1), stack(1), BTreeSet::new);
        assert_eq!(stacks.bytes, before, "in its own place");
    }

    #[test]
    fn few_are_all_kept() {
        let mut stacks = KeptStacks::new();
        stacks.insert(PlaceId(1), stack(1), || panic!("there is room"));
        assert_eq!(stacks.left_out(), None);
    }
}
