//! What the kernel side does with a recipe at an event (`tcpstate-ebpf/src/stacks/interpreted.rs`), for a thread that sleeps, and to see
//! that a recipe leads to frames.

use tcpstate_wire::{FrameRecipe, FrameWords, ListEnd};

use super::memory::Memory;

/// The frames of the thread with this thread pointer, innermost first, at most `most`, each with its address; and how they end. If the
/// thread runs on, they may be those of different moments.
pub(super) fn frames(
    recipe: &FrameRecipe,
    thread_pointer: u64,
    most: usize,
    memory: &mut Memory<'_>,
) -> (Vec<(u64, FrameWords)>, ListEnd) {
    let mut word = |address: u64, offset: u32| memory.word(address.wrapping_add(offset.into()));
    let mut frames = Vec::new();
    let mut at = thread_pointer.wrapping_add(recipe.start);
    for &hop in recipe.hops.iter().take(recipe.hop_count as usize) {
        match word(at, hop) {
            Some(0) => return (frames, ListEnd::Complete),
            Some(pointer) => at = pointer,
            None => return (frames, ListEnd::NotInMemory),
        }
    }
    while frames.len() < most {
        let [Some(code), Some(place), Some(flags)] = recipe.words.map(|offset| word(at, offset)) else {
            return (frames, ListEnd::NotInMemory);
        };
        frames.push((at, [code, place, flags]));
        match word(at, recipe.next) {
            Some(0) => return (frames, ListEnd::Complete),
            Some(frame) => at = frame,
            None => return (frames, ListEnd::NotInMemory),
        }
    }
    (frames, ListEnd::TooDeep)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs::File};

    use tcpstate_wire::{Need, Supply};

    use super::*;
    use crate::Supplier;

    const RECIPE: FrameRecipe =
        FrameRecipe { start: 16, hops: [0, 8, 0, 0], hop_count: 2, next: 24, words: [0, 8, 16] };

    /// Words of memory.
    struct Words(BTreeMap<u64, u64>);

    impl Supplier for Words {
        fn supply(&mut self, need: Need) -> (Supply, Vec<File>) {
            let Need::Memory { address, .. } = need else { return (Supply::Gone, Vec::new()) };
            let bytes = self.0.get(&address).map_or(Vec::new(), |word| word.to_le_bytes().to_vec());
            (Supply::Memory(bytes), Vec::new())
        }
    }

    /// A thread at 0x1000, its state at 0x2000, and frames from 0x3000 on that lead to each other, the last one to `end`.
    fn thread(frames: u64, end: u64) -> Words {
        let mut memory = BTreeMap::from([(0x1010, 0x2000), (0x2008, 0x3000)]);
        for frame in 0..frames {
            let at = 0x3000 + frame * 32;
            let next = if frame + 1 == frames { end } else { at + 32 };
            memory.extend([(at, frame), (at + 8, 7), (at + 16, 9), (at + 24, next)]);
        }
        Words(memory)
    }

    fn walk(mut memory: Words, recipe: &FrameRecipe) -> (usize, ListEnd) {
        let (frames, end) = frames(recipe, 0x1000, 64, &mut Memory::new(&mut memory, 1000));
        let are_they = |(index, (_, words)): (usize, &(u64, FrameWords))| *words == [index as u64, 7, 9];
        assert!(frames.iter().enumerate().all(are_they), "{frames:?}");
        (frames.len(), end)
    }

    #[test]
    fn a_list_is_followed_to_its_end() {
        assert_eq!(walk(thread(3, 0), &RECIPE), (3, ListEnd::Complete));
        assert_eq!(walk(thread(64, 0), &RECIPE), (64, ListEnd::Complete));
        assert_eq!(walk(thread(65, 0), &RECIPE), (64, ListEnd::TooDeep));
        assert_eq!(walk(thread(3, 0x10), &RECIPE), (3, ListEnd::NotInMemory));
        assert_eq!(walk(Words(BTreeMap::new()), &RECIPE), (0, ListEnd::NotInMemory));
    }

    #[test]
    fn a_thread_that_runs_nothing_has_no_frames() {
        assert_eq!(walk(Words(BTreeMap::from([(0x1010, 0x2000), (0x2008, 0)])), &RECIPE), (0, ListEnd::Complete));
        // One that has no state in the interpreter.
        assert_eq!(walk(Words(BTreeMap::from([(0x1010, 0)])), &RECIPE), (0, ListEnd::Complete));
    }

    #[test]
    fn whatever_a_recipe_says() {
        let far = FrameRecipe { next: u32::MAX, ..RECIPE };
        assert_eq!(walk(thread(3, 0), &far), (1, ListEnd::NotInMemory));
        // All of the four, the third of which reads the first word of the first frame.
        let many = FrameRecipe { hop_count: u32::MAX, ..RECIPE };
        assert_eq!(walk(thread(3, 0), &many), (0, ListEnd::Complete));
    }
}
