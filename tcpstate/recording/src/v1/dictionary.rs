//! What repeats is written once, and named by its index from then on.

use std::hash::Hash;

use hashbrown::HashMap;

/// Things by the order in which they first came.
pub(super) struct Dictionary<T> {
    indices: HashMap<T, u32>,
    pub(super) things: Vec<T>,
}

impl<T: Copy + Eq + Hash> Dictionary<T> {
    pub(super) fn new() -> Self {
        Self { indices: HashMap::new(), things: Vec::new() }
    }

    pub(super) fn index(&mut self, thing: T) -> u32 {
        let next = self.things.len();
        *self.indices.entry(thing).or_insert_with(|| {
            self.things.push(thing);
            // Frames hold fewer things than that.
            u32::try_from(next).unwrap_or(u32::MAX)
        })
    }

    /// One more than the index; 0 for nothing.
    pub(super) fn optional(&mut self, thing: Option<T>) -> u32 {
        thing.map_or(0, |thing| self.index(thing) + 1)
    }
}
