//! Sequences in files. An element may take much more memory than it does in the file, so what they take is charged before it is taken.

use std::{cell::Cell, fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};

use crate::budget::{Budget, Exceeded};

thread_local! {
    /// What the thread may take for what it decodes now: serde passes nothing on.
    static BUDGET: Cell<Budget> = const { Cell::new(Budget::new()) };
}

/// Bytes that a sequence gets at once, if it says that it is so long.
const TRUSTED: usize = 1024;

/// Has what `decode` makes charged to this budget.
pub(super) fn charged<T>(budget: &mut Budget, decode: impl FnOnce() -> T) -> T {
    let before = BUDGET.replace(*budget);
    let decoded = decode();
    *budget = BUDGET.replace(before);
    decoded
}

fn charge<T>(count: usize) -> Result<(), Exceeded> {
    let mut budget = BUDGET.get();
    let charged = budget.charge_for::<T>(count);
    BUDGET.set(budget);
    charged
}

/// A vector, in a file as in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Many<T>(Vec<T>);

impl<T> Many<T> {
    pub(super) fn push(&mut self, element: T) {
        self.0.push(element);
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

struct Elements<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
    type Value = Many<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Many<T>, A::Error> {
        let most = TRUSTED / size_of::<T>().max(1);
        let mut elements = Vec::new();
        let mut more = sequence.size_hint().unwrap_or(0).min(most.max(1));
        while let Some(element) = sequence.next_element()? {
            if elements.len() == elements.capacity() {
                more = more.max(1);
                charge::<T>(more).map_err(|Exceeded| A::Error::custom("too large"))?;
                elements.reserve_exact(more);
                more = elements.capacity();
            }
            elements.push(element);
        }
        Ok(Many(elements))
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Many<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> From<Vec<T>> for Many<T> {
    fn from(elements: Vec<T>) -> Self {
        Self(elements)
    }
}

impl<T> From<Many<T>> for Vec<T> {
    fn from(Many(elements): Many<T>) -> Self {
        elements
    }
}

impl<T> Extend<T> for Many<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        self.0.extend(elements);
    }
}

impl<T> FromIterator<T> for Many<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(elements.into_iter().collect())
    }
}

impl<T> IntoIterator for Many<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
