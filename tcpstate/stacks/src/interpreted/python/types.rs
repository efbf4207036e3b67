//! `CPython`'s types, and what tells them.

use super::unfit::Unfit;
use crate::interpreted::memory::{Memory, word};

/// Offset of the name in `PyTypeObject` (`Include/cpython/object.h`), the same from 3.8 to 3.14.
const NAME: u32 = 24;
/// How much of a type is read to know it, bytes.
const HEAD: u32 = 256;
/// The longest name of a type, bytes.
const LONGEST_NAME: u32 = 40;
/// Offset of the type in every object.
const OBJECT_TYPE: u32 = 8;

/// The addresses of types.
#[derive(Clone, Copy, Debug)]
pub(super) struct Types {
    /// That of types.
    pub(super) kind: u64,
    pub(super) code: u64,
    pub(super) text: u64,
    pub(super) bytes: u64,
    pub(super) frame: u64,
}

impl Types {
    /// Whether they are types, with the names that they have.
    pub(super) fn check(&self, version: &'static str, memory: &mut Memory<'_>) -> Result<(), Unfit> {
        let types = [
            (self.kind, "type"),
            (self.code, "code"),
            (self.text, "str"),
            (self.bytes, "bytes"),
            (self.frame, "frame"),
        ];
        for (address, name) in types {
            let bytes = memory.read(address, HEAD);
            let (Some(kind), Some(named)) = (word(&bytes, OBJECT_TYPE), word(&bytes, NAME)) else {
                return Err(Unfit::Memory);
            };
            if kind != self.kind || memory.text(named, LONGEST_NAME).as_deref() != Some(name.as_bytes()) {
                return Err(Unfit::Type(version, name));
            }
        }
        Ok(())
    }

    /// Whether an object is of a type.
    pub(super) fn is_of(&self, object: u64, kind: u64, memory: &mut Memory<'_>) -> bool {
        memory.word(object.wrapping_add(OBJECT_TYPE.into())) == Some(kind)
    }
}
