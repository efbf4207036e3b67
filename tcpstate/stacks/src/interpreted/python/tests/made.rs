//! Memory of a process that is a `CPython` 3.12, or nearly.

use std::{collections::BTreeMap, fs::File};

use tcpstate_wire::{Need, Supply};

use super::{Types, text};
use crate::{interpreted::memory, supplier::Supplier};

pub(super) const TYPES: Types =
    Types { kind: 0x1_0000, code: 0x1_1000, text: 0x1_2000, bytes: 0x1_3000, frame: 0x1_4000 };
pub(super) const NONE: u64 = 0x1_5000;
pub(super) const RUNTIME: u64 = 0x2_0000;
pub(super) const VERSION: u64 = 0x2_8000;
pub(super) const INTERPRETER: u64 = 0x3_0000;
pub(super) const STATES: [u64; 2] = [0x4_0000, 0x4_1000];
pub(super) const POINTERS: [u64; 2] = [0x5_0000, 0x5_2000];
pub(super) const FRAMES: [u64; 4] = [0x6_0000, 0x6_1000, 0x6_2000, 0x6_3000];
pub(super) const CODES: [u64; 2] = [0x7_0000, 0x7_1000];
/// Where threads have their states.
pub(super) const SLOT: u64 = 0x328;

/// Memory of a process: words by address.
#[derive(Clone, Debug, Default)]
pub(in crate::interpreted) struct Made {
    pub(super) words: BTreeMap<u64, u64>,
    /// What is where nothing was put.
    pub(super) other: Option<u64>,
    pub(super) reads: usize,
}

impl Made {
    pub(super) fn words(&mut self, address: u64, words: &[u64]) {
        for (index, &word) in words.iter().enumerate() {
            self.words.insert(address + 8 * index as u64, word);
        }
    }

    fn bytes(&mut self, address: u64, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words: Vec<_> = bytes.chunks_exact(8).filter_map(|word| memory::word(word, 0)).collect();
        self.words(address, &words);
    }

    fn get(&self, address: u64) -> Option<u64> {
        self.words.get(&address).copied().or(self.other.map(|other| if other == 1 { address } else { other }))
    }

    /// A type with a name and members.
    fn kind(&mut self, address: u64, name: &str, size: u64, members: &[(&str, u64)]) {
        self.words(address, &[0; 32]);
        self.words(address, &[1, TYPES.kind, 0, address + 0x200, size]);
        self.words(address + 240, &[address + 0x300]);
        self.bytes(address + 0x200, &[name.as_bytes(), &[0; 48]].concat());
        for (index, (member, offset)) in (0..).zip(members) {
            let name = address + 0x800 + 64 * index;
            self.bytes(name, &[member.as_bytes(), &[0; 48]].concat());
            self.words(address + 0x300 + 40 * index, &[name, 6, *offset, 0, 0]);
        }
        self.words(address + 0x300 + 40 * members.len() as u64, &[0; 5]);
    }

    /// A function that has its first line on line 7, and its second unit on the next.
    pub(super) fn code(&mut self, address: u64, name: &str) {
        let texts = [address + 0x200, address + 0x400, address + 0x600];
        self.words(address, &[0; 0x180]);
        self.words(address, &[1, TYPES.code, 8]);
        self.words(address + 64, &[7 << 32]);
        self.words(address + 112, &[texts[0], 0, texts[1], texts[2]]);
        self.bytes(texts[0], &text::tests::object(TYPES.text, "/srv/app.py"));
        self.bytes(texts[1], &text::tests::object(TYPES.text, name));
        self.words(texts[2], &[1, TYPES.bytes, 5, 0]);
        self.bytes(texts[2] + 32, &[0x80, 0, 0xd8, 2, 0]);
    }

    fn frame(&mut self, index: usize, code: u64, instruction: u64, owner: u8) {
        self.words(FRAMES[index], &[code, FRAMES.get(index + 1).copied().unwrap_or(0), 0, 0, 0, 0, 0, instruction]);
        self.words(FRAMES[index] + 64, &[u64::from(owner) << 48]);
    }

    /// A `CPython` 3.12 with two threads that both are in `Pool.take`, which `main` called.
    pub(in crate::interpreted) fn sound() -> Self {
        let mut made = Self::default();
        let members = [("co_filename", 112), ("co_qualname", 128), ("co_linetable", 136), ("co_firstlineno", 68)];
        for (address, name, size, members) in [
            (TYPES.kind, "type", 0, &[][..]),
            (TYPES.code, "code", 192, &members[..]),
            (TYPES.text, "str", 0, &[]),
            (TYPES.bytes, "bytes", 0, &[]),
            (TYPES.frame, "frame", 0, &[]),
        ] {
            made.kind(address, name, size, members);
        }
        made.words(VERSION, &[0x030c_01f0]);
        made.words(RUNTIME + 40, &[INTERPRETER]);
        made.words(INTERPRETER, &[0]);
        made.words(INTERPRETER + 72, &[STATES[0]]);
        for (index, (state, pointer)) in STATES.into_iter().zip(POINTERS).enumerate() {
            made.words(state, &[0; 24]);
            made.words(state, &[0, STATES.get(index + 1).copied().unwrap_or(0), INTERPRETER]);
            made.words(state + 56, &[state + 0x100]);
            made.words(state + 0x100, &[FRAMES[0]]);
            made.words(state + 136, &[pointer]);
            made.words(pointer, &[0; 0x200]);
            made.words(pointer, &[pointer, 0, pointer]);
            made.words(pointer + SLOT - 8, &[3, state]);
        }
        made.code(CODES[0], "Pool.take");
        made.code(CODES[1], "main");
        made.frame(0, CODES[0], CODES[0] + 192 + 2, 0);
        made.frame(1, NONE, 0, 3);
        made.frame(2, CODES[1], CODES[1] + 192, 1);
        made.frame(3, NONE, 0, 3);
        made
    }
}

impl Supplier for Made {
    fn supply(&mut self, need: Need) -> (Supply, Vec<File>) {
        let Need::Memory { address, length } = need else { return (Supply::Gone, Vec::new()) };
        self.reads += 1;
        let (first, skipped) = (address & !7, (address & 7) as usize);
        let mut bytes = Vec::new();
        for index in 0..u64::from(length) / 8 + 2 {
            let Some(word) = self.get(first.wrapping_add(8 * index)) else { break };
            bytes.extend(word.to_le_bytes());
        }
        let bytes = bytes.get(skipped..).unwrap_or_default();
        (Supply::Memory(bytes[..bytes.len().min(length as usize)].to_vec()), Vec::new())
    }
}
