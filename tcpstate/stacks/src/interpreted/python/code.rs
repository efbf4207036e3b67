//! `CPython`'s code objects: what the functions of a program are called, and where they are from.

use std::collections::HashMap;

use tcpstate_wire::{Function, FunctionSource};

use super::{
    layout::{Instructions, Layout},
    lines::CodeLines,
    text,
    types::Types,
};
use crate::interpreted::memory::{Memory, half, word};

/// How many functions are remembered.
const MOST_CODES: usize = 16 * 1024;
/// What they may take of memory, bytes.
const MAX_SIZE: usize = 16 << 20;
/// The longest table of lines that is read, bytes.
const MAX_TABLE: u32 = (64 << 10) - BYTES;
/// How much of a table is read at once, bytes: most are no longer.
const FIRST_PIECE: u32 = 1024;
/// Offset of the type in every object.
const TYPE: u32 = 8;
/// Offset of its length in an object that has one.
const LENGTH: u32 = 16;
/// Where an object of `bytes` has them.
const BYTES: u32 = 32;
/// What the file of the interpreter's own code is called in 3.12.
const SHIM_FILE: &str = "<shim>";
/// What such code is called since 3.13, and its file, too.
const SHIM: &str = "__init__";

/// The functions that were read lately.
#[derive(Debug, Default)]
pub(in crate::interpreted) struct Codes {
    /// By memory and address.
    known: HashMap<(u64, u64), Code>,
    /// What all of them take, bytes.
    size: usize,
}

/// What a code object says.
#[derive(Debug)]
pub(super) struct Code {
    /// Those of its bytes that never change: at its address there may be another one later.
    mark: Vec<u8>,
    name: String,
    file: String,
    /// `None`: the table is too long.
    lines: Option<CodeLines>,
    /// Bytes of its instructions.
    length: i64,
}

impl Codes {
    /// What is at an address of a memory. It is read again each time, as far as that is needed to know that it is the same still. `None`:
    /// no code object that can be read.
    pub(super) fn get(
        &mut self,
        (space, address): (u64, u64),
        layout: &Layout,
        types: &Types,
        memory: &mut Memory<'_>,
    ) -> Option<&Code> {
        let key = (space, address);
        let head = memory.read(address, layout.code.length());
        if self.known.get(&key).is_none_or(|known| Some(&*known.mark) != head.get(TYPE as usize..)) {
            if let Some(outdated) = self.known.remove(&key) {
                self.size -= outdated.size();
            }
            let code = Code::read(&head, layout, types, memory)?;
            if self.known.len() >= MOST_CODES || self.size + code.size() > MAX_SIZE {
                self.known.clear();
                self.size = 0;
            }
            self.size += code.size();
            self.known.insert(key, code);
        }
        self.known.get(&key)
    }
}

#[cfg(test)]
impl Codes {
    /// How many functions are remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

impl Code {
    fn read(head: &[u8], layout: &Layout, types: &Types, memory: &mut Memory<'_>) -> Option<Self> {
        if word(head, TYPE)? != types.code {
            return None;
        }
        let mut text = |offset| text::read(word(head, offset)?, types.text, layout.text, memory);
        let name = text(layout.code.name).filter(|name| !name.is_empty())?;
        let file = text(layout.code.file)?;
        let length = match layout.code.instructions {
            Instructions::Apart { at, .. } => {
                let bytes = word(head, at)?;
                types.is_of(bytes, types.bytes, memory).then(|| memory.word(bytes.wrapping_add(LENGTH.into())))??
            }
            // In units of two bytes.
            Instructions::Within { .. } => word(head, LENGTH)?.checked_mul(2)?,
        };
        let first = half(head, layout.code.first_line)?.cast_signed();
        let lines = match table(word(head, layout.code.lines)?, types.bytes, memory)? {
            Table::Whole(table) => Some(CodeLines { encoding: layout.code.encoding, first, table }),
            Table::TooLong => None,
        };
        let length = i64::try_from(length).ok()?;
        Some(Self { mark: head.get(TYPE as usize..)?.to_vec(), name, file, lines, length })
    }

    /// The function of a frame that is so far in it. `None`: it has no instruction there, so the frame was of another one.
    pub(super) fn function(&self, offset: i64) -> Option<Function> {
        // One that has not begun may be at the unit before the first.
        if !(-2..self.length).contains(&offset) {
            return None;
        }
        let source = FunctionSource { file: self.file.clone().into(), line: self.line(offset) };
        Some(Function { name: self.name.clone(), source: Some(source), inlined: false })
    }

    fn line(&self, offset: i64) -> Option<u32> {
        self.lines.as_ref().and_then(|lines| lines.at(offset)).filter(|&line| line != 0)
    }

    /// Whether it is the interpreter's own: since 3.12 it has some that goes on after a constructor (`_Py_MakeShimCode` in
    /// `Objects/codeobject.c`). It has no lines.
    pub(super) fn is_shim(&self, offset: i64) -> bool {
        let is_named_so = self.file == SHIM_FILE || self.file == SHIM && self.name == SHIM;
        is_named_so && self.line(offset).is_none()
    }

    /// What it takes of memory, bytes.
    fn size(&self) -> usize {
        let table = self.lines.as_ref().map_or(0, |lines| lines.table.capacity());
        size_of::<((u64, u64), Self)>() + self.mark.capacity() + self.name.capacity() + self.file.capacity() + table
    }
}

/// A table of lines.
enum Table {
    Whole(Vec<u8>),
    TooLong,
}

/// Reads an object of `bytes`. `None`: it is none.
fn table(address: u64, kind: u64, memory: &mut Memory<'_>) -> Option<Table> {
    let mut table = memory.read(address, BYTES + FIRST_PIECE);
    if word(&table, TYPE)? != kind {
        return None;
    }
    let Some(length) = u32::try_from(word(&table, LENGTH)?).ok().filter(|&length| length <= MAX_TABLE) else {
        return Some(Table::TooLong);
    };
    if length > FIRST_PIECE {
        table = memory.read(address, BYTES + length);
    }
    let bytes = table.get(BYTES as usize..)?.get(..length as usize)?;
    Some(Table::Whole(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_are_kept_are_counted() {
        let (mut made, python) = (super::super::tests::Made::sound(), super::super::tests::python());
        let mut codes = Codes::default();
        for space in 0..MOST_CODES as u64 + 10 {
            let code = codes.get((space, 0x7_0000), &python.layout, &python.types, &mut Memory::new(&mut made, 10));
            assert_eq!(code.map(|code| &*code.name), Some("Pool.take"));
            assert!(codes.known.len() <= MOST_CODES && codes.size <= MAX_SIZE);
        }
        assert!(codes.known.len() < MOST_CODES);
        assert_eq!(codes.size, codes.known.values().map(Code::size).sum::<usize>());
    }
}
