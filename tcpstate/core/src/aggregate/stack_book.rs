//! Which stacks are the same to a reader, so that their places are shown as one.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use hashbrown::{HashMap, HashSet};

use crate::model::{
    leak::PlaceId,
    stack::{
        Frame, Stack,
        outline::{self, Called, Part},
    },
};

/// Bytes of named stacks that a book has room for. A stack takes about 3 KiB, so most books are nearly empty; names of functions may
/// be long.
const ROOM: usize = 16 << 20;

/// The stacks of places, as far as there is room for them; places whose stacks are alike are one.
#[derive(Debug)]
pub struct StackBook {
    stacks: HashMap<PlaceId, (Arc<Stack>, PlaceId)>,
    first: HashMap<u128, PlaceId>,
    /// By which likenesses are told apart, chosen at random: nobody can make two stacks alike that are not.
    keys: [RandomState; 2],
    room: usize,
    bytes: usize,
    /// Places whose stacks found no room.
    refused: HashSet<PlaceId>,
}

impl Default for StackBook {
    fn default() -> Self {
        Self::with_room(ROOM)
    }
}

impl StackBook {
    /// One with room for so many bytes of stacks.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self {
            stacks: HashMap::new(),
            first: HashMap::new(),
            keys: [RandomState::new(), RandomState::new()],
            room: bytes,
            bytes: 0,
            refused: HashSet::new(),
        }
    }

    /// Keeps the stack of a place, if there is room for it.
    pub fn insert(&mut self, place: PlaceId, stack: impl Into<Arc<Stack>>) {
        let stack = stack.into();
        let (before, bytes) = (self.stacks.get(&place).map_or(0, |(stack, _)| size(stack)), size(&stack));
        if self.bytes - before + bytes > self.room {
            self.refused.insert(place);
            return;
        }
        self.bytes = self.bytes - before + bytes;
        self.refused.remove(&place);
        let first = *self.first.entry(self.likeness(&stack)).or_insert(place);
        self.stacks.insert(place, (stack, first));
    }

    /// Places whose stacks found no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.len() as u64
    }

    /// Whether the stack of a place found no room.
    #[must_use]
    pub fn has_refused(&self, place: PlaceId) -> bool {
        self.refused.contains(&place)
    }

    /// What stands for all that a reader can tell a stack by: two hashes of 64 bits, so that stacks that differ have the same ones less
    /// often than memory fails.
    fn likeness(&self, stack: &Stack) -> u128 {
        let likeness = Likeness::of(stack);
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(&likeness)));
        high << 64 | low
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

    /// How many places have a stack.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// The stacks of all places, in no order.
    pub fn stacks(&self) -> impl Iterator<Item = &Arc<Stack>> {
        self.stacks.values().map(|(stack, _)| stack)
    }

    /// Forgets the stacks of all places but these, and that there was no room for others. A place that stands for one of these stays, too.
    pub fn retain(&mut self, places: &BTreeSet<PlaceId>) {
        let needed: BTreeSet<_> = places.iter().flat_map(|&place| [place, self.fold(place)]).collect();
        let Self { stacks, first, bytes, refused, .. } = self;
        stacks.retain(|place, (stack, _)| {
            let keep = needed.contains(place);
            *bytes -= if keep { 0 } else { size(stack) };
            keep
        });
        first.retain(|_, place| needed.contains(place));
        refused.clear();
    }
}

/// Bytes that a stack takes with its names, about.
fn size(stack: &Stack) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
    let of_frame = |frame: &Frame| {
        let source = frame.source.as_ref().map_or(0, |source| source.file.capacity());
        size_of::<Frame>() + text(&frame.function) + source
    };
    let kernel: usize = stack.kernel.iter().map(|name| size_of::<String>() + name.capacity()).sum();
    let frames: usize = stack.frames.iter().map(of_frame).sum();
    size_of::<Stack>() + frames + kernel + text(&stack.truncated) + text(&stack.hint)
}

/// What a reader can tell a stack from another by: the user's functions, with lines where they are known, and the names of those
/// functions of libraries that are shown. How often a function called itself does not count, nor how many frames stand between
/// others unnamed, nor code that was made at run time and has no name: an interpreter enters and leaves it as it learns.
/// Where there is such code, whose it is does, and how to get its names, which may be said of one process.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Likeness {
    frames: Vec<Frame>,
    hint: Option<String>,
    process: Option<u32>,
}

impl Likeness {
    fn of(stack: &Stack) -> Self {
        let named: Vec<Frame> = stack.frames.iter().filter_map(told_apart).collect();
        let hint = if named.len() < stack.frames.len() { stack.hint.clone() } else { None };
        let mut frames = Vec::with_capacity(named.len());
        for part in outline::parts(&named) {
            match part {
                Part::Function { frame, .. } => frames.push(frame.clone()),
                Part::Libraries(calls) => frames.extend(calls.into_iter().filter_map(by_name)),
            }
        }
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

/// What is shown of libraries.
fn by_name(call: Called<'_>) -> Option<Frame> {
    match call {
        Called::Function(frame) => Some(Frame { source: None, inlined: false, ..frame.clone() }),
        Called::Runtime { first, .. } => {
            Some(Frame { function: None, source: None, offset: 0, inlined: false, ..first.clone() })
        }
        Called::More(_) => None,
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
    fn what_is_not_shown_of_libraries_tells_nothing_apart() {
        let user = |line| Frame {
            source: Some(Source { file: "main.rs".into(), line: Some(line) }),
            ..frame(Some("forward"), Some("/bin/gw"), 0x10)
        };
        // The same function of a crate, of which a reader sees the name only.
        let poll = |line| Frame {
            source: Some(Source { file: "/home/u/.cargo/registry/src/tokio/src/poll.rs".into(), line: Some(line) }),
            inlined: line % 2 == 0,
            ..frame(Some("poll"), Some("/bin/gw"), 0x20)
        };
        let of_libc = |n: u64| frame(Some(&format!("f{n}")), Some("/usr/lib/libc.so.6"), n);
        let deep = |middle: &[u64]| {
            let ends = [of_libc(1), of_libc(99)];
            let middle = middle.iter().map(|&n| of_libc(n));
            let libraries: Vec<_> = std::iter::once(ends[0].clone()).chain(middle).chain([ends[1].clone()]).collect();
            [libraries, vec![user(7)]].concat()
        };
        let interpreter = |module: &str| Frame { runtime: true, ..frame(Some("eval"), Some(module), 0x30) };
        let stacks = [
            vec![poll(1), user(7)],
            vec![poll(2), user(7)],
            vec![poll(1), user(8)],
            vec![poll(1)],
            vec![poll(2)],
            deep(&[2, 3, 4, 5]),
            deep(&[2, 3, 4, 6, 7, 8]),
            deep(&[2]),
            vec![interpreter("/usr/bin/python3"), user(7), interpreter("/usr/bin/python3")],
            vec![interpreter("/usr/bin/python3"), interpreter("/usr/bin/python3"), user(7)],
            vec![interpreter("/usr/bin/python4"), user(7)],
        ];
        let stacks: Vec<_> = stacks.iter().map(Vec::as_slice).collect();
        let book = book(&stacks);
        let folded: Vec<_> = (1..).zip(&stacks).map(|(id, _)| book.fold(PlaceId(id)).0).collect();
        assert_eq!(folded, [1, 1, 3, 4, 5, 6, 6, 8, 9, 9, 11]);
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
