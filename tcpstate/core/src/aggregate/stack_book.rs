//! Which stacks are the same to a reader, so that their places are shown as one.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;

use crate::model::{
    leak::PlaceId,
    stack::{Frame, Stack},
};

/// The stacks of places; places whose stacks are alike are one.
#[derive(Debug, Default)]
pub struct StackBook {
    stacks: HashMap<PlaceId, (Arc<Stack>, PlaceId)>,
    first: HashMap<Likeness, PlaceId>,
}

impl StackBook {
    /// Keeps the stack of a place.
    pub fn insert(&mut self, place: PlaceId, stack: impl Into<Arc<Stack>>) {
        let stack = stack.into();
        let first = *self.first.entry(Likeness::of(&stack)).or_insert(place);
        self.stacks.insert(place, (stack, first));
    }

    /// The stack of a place, if it is known.
    #[must_use]
    pub fn get(&self, place: PlaceId) -> Option<&Arc<Stack>> {
        self.stacks.get(&place).map(|(stack, _)| stack)
    }

    /// The place that stands for all places with the same stack.
    #[must_use]
    pub fn fold(&self, place: PlaceId) -> PlaceId {
        self.stacks.get(&place).map_or(place, |&(_, first)| first)
    }

    /// Forgets the stacks of all places but these. A place that stands for one of these stays, too.
    pub fn retain(&mut self, places: &BTreeSet<PlaceId>) {
        let needed: BTreeSet<_> = places.iter().flat_map(|&place| [place, self.fold(place)]).collect();
        self.stacks.retain(|place, _| needed.contains(place));
        self.first.retain(|_, place| needed.contains(place));
    }
}

/// What a reader can tell a stack from another by: functions, and lines where they are known. How often a function called itself
/// does not count, nor does code that was made at run time and has no name: an interpreter enters and leaves it as it learns.
/// Where there is such code, whose it is does, and how to get its names, which may be said of one process.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Likeness {
    frames: Vec<Frame>,
    hint: Option<String>,
    process: Option<u32>,
}

impl Likeness {
    fn of(stack: &Stack) -> Self {
        let mut frames: Vec<Frame> = stack.frames.iter().filter_map(told_apart).collect();
        let hint = if frames.len() < stack.frames.len() { stack.hint.clone() } else { None };
        frames.dedup();
        Self { frames, hint, process: stack.process }
    }
}

/// The frame without what does not count, if anything of it does.
fn told_apart(frame: &Frame) -> Option<Frame> {
    match (&frame.function, &frame.module) {
        (None, None) => None,
        (Some(_), _) => Some(Frame { offset: 0, ..frame.clone() }),
        (None, Some(_)) => Some(frame.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::stack::Source;

    fn frame(function: Option<&str>, module: Option<&str>, offset: u64) -> Frame {
        let module = module.map(|path| Path::new(path).into());
        Frame { function: function.map(str::to_owned), source: None, module, offset, inlined: false, runtime: false }
    }

    fn book(stacks: &[&[Frame]]) -> StackBook {
        let mut book = StackBook::default();
        for (id, frames) in (1..).zip(stacks) {
            book.insert(PlaceId(id), Stack { frames: frames.to_vec(), ..Stack::default() });
        }
        book
    }

    #[test]
    fn places_in_the_same_functions_are_one() {
        let (main, other) = (frame(Some("main"), Some("/bin/a"), 0x10), frame(Some("main"), Some("/bin/a"), 0x20));
        let jit = frame(None, None, 0x7f00_0000);
        let book = book(&[std::slice::from_ref(&main), &[other.clone(), main.clone()], &[jit, main.clone()]]);
        assert_eq!([1, 2, 3].map(|id| book.fold(PlaceId(id))), [PlaceId(1); 3]);
        assert_eq!(book.get(PlaceId(2)).map(|stack| stack.frames.len()), Some(2), "each is kept as it is");
    }

    #[test]
    fn code_without_names_is_not_another_process_s() {
        let frames = |pid: u64| vec![frame(None, None, pid << 32), frame(Some("main"), Some("/bin/node"), 0x10)];
        let live = |pid: u32| Stack { frames: frames(pid.into()), process: Some(pid), ..Stack::default() };
        let recorded = |pid: u32| Stack { hint: Some(format!("run `jcmd {pid} …`")), process: None, ..live(pid) };
        let mut book = StackBook::default();
        let stacks = [live(7), live(7), live(8), recorded(7), recorded(7), recorded(8)];
        for (id, stack) in (1..).zip(stacks) {
            book.insert(PlaceId(id), stack);
        }
        assert_eq!([1, 2, 3, 4, 5, 6].map(|id| book.fold(PlaceId(id))), [1, 1, 3, 4, 4, 6].map(PlaceId));
    }

    #[test]
    fn places_in_different_code_are_not() {
        let line = |line| Some(Source { file: "a.c".into(), line: Some(line) });
        let main = frame(Some("main"), Some("/bin/a"), 0x10);
        let stacks = [
            Frame { source: line(1), ..main.clone() },
            Frame { source: line(2), ..main.clone() },
            frame(Some("main"), Some("/bin/b"), 0x10),
            frame(None, Some("/bin/a"), 0x10),
            frame(None, Some("/bin/a"), 0x20),
        ];
        let stacks: Vec<_> = stacks.iter().map(std::slice::from_ref).collect();
        let book = book(&stacks);
        assert_eq!([1, 2, 3, 4, 5].map(|id| book.fold(PlaceId(id))), [1, 2, 3, 4, 5].map(PlaceId));
    }
}
