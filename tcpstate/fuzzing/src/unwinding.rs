//! Any stack in any code: registers, words, instructions, unwind info.
//!
//! The headers of the file that the code is in are right, so that one gets beyond them; they have proptests of their own.

use tcpstate_common::leak::Registers;
use tcpstate_stacks::worker::Worker;
use tcpstate_wire::{Region, RegionKind, StackCopy, Task, WorkerAnswer};

use crate::supplies::{MODULE, Supplies};

/// Where the file is mapped.
const FILE: u64 = 0x2000_0000_0000;
/// Where the stack begins.
const STACK: u64 = 0x4000_0000_0000;

/// Its sections, with where they are and how much room they have.
const TEXT: Section = Section { name: 1, at: 0x100, room: 0x700 };
const EH_FRAME_HDR: Section = Section { name: 7, at: 0x800, room: 0x400 };
const EH_FRAME: Section = Section { name: 21, at: 0xc00, room: 0x1000 };
const DEBUG_FRAME: Section = Section { name: 31, at: 0xc00, room: 0x1000 };
const GO: Section = Section { name: 44, at: 0x1c00, room: 0 };
const NAMES: &[u8] = b"\0.text\0.eh_frame_hdr\0.eh_frame\0.debug_frame\0.go.buildinfo\0";
const NAMES_AT: u64 = 0x1c00;
const HEADERS_AT: u64 = 0x1d00;
const FILE_SIZE: usize = 0x2000;

#[derive(Clone, Copy)]
struct Section {
    /// Where its name is in [`NAMES`].
    name: u32,
    /// Offset in the file, and address.
    at: u64,
    room: usize,
}

/// Follows a stack that such bytes describe.
///
/// # Panics
///
/// When what comes out is no stack.
pub fn unwinding(input: &[u8]) {
    let Some((head, rest)) = input.split_first_chunk::<12>() else { return };
    let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let shape = Shape(head[0]);
    let (text, rest) = rest.split_at(usize::from(number(6)).min(rest.len()).min(TEXT.room));
    let (table, rest) = rest.split_at(usize::from(number(8)).min(rest.len()).min(EH_FRAME_HDR.room));
    let (frames, stack) = rest.split_at(usize::from(number(10)).min(rest.len()).min(EH_FRAME.room));
    let kind = RegionKind::File { inode: 1, device: (0, 1), path: 0 };
    let mut supplies = Supplies {
        regions: vec![Region { start: FILE, end: FILE + FILE_SIZE as u64, offset: 0, kind }],
        file: shape.file(text, table, frames),
        mapped_at: FILE,
        ..Supplies::default()
    };
    let registers = Registers {
        ip: FILE + u64::from(number(2)),
        sp: STACK,
        bp: if shape.has(Shape::NO_FRAME_POINTER) { 0 } else { STACK + u64::from(number(4)) },
    };
    let copy = StackCopy { registers, bytes: stack.to_vec(), missing: Vec::new(), may_go_on: head[1] & 1 != 0 };
    let task = Task::Unwind { pid: 1, start_stack: Some(1), copy };
    let WorkerAnswer::Unwound { stack, unreadable } = Worker::default().perform(task, &mut supplies) else {
        panic!("no stack");
    };
    assert!((1..=512).contains(&stack.frames.len()));
    assert!(stack.frames[1..].iter().all(|address| address.is_return));
    assert!(unreadable.iter().all(|file| file.module == MODULE && !file.why.is_empty()));
}

/// What kind of file it is.
#[derive(Clone, Copy)]
struct Shape(u8);

impl Shape {
    /// No ELF file: code made at run time.
    const JIT: u8 = 1 << 0;
    const DEBUG_FRAME: u8 = 1 << 1;
    const HAS_TABLE: u8 = 1 << 2;
    const GO: u8 = 1 << 3;
    const NO_FRAME_POINTER: u8 = 1 << 4;
    const HAS_ENTRY: u8 = 1 << 5;

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn file(self, text: &[u8], table: &[u8], frames: &[u8]) -> Vec<u8> {
        let mut file = vec![0; FILE_SIZE];
        let mut put = |at: u64, bytes: &[u8]| file[at as usize..][..bytes.len()].copy_from_slice(bytes);
        put(TEXT.at, text);
        put(EH_FRAME_HDR.at, table);
        put(EH_FRAME.at, frames);
        if self.has(Self::JIT) {
            return file;
        }
        let unwind_info = if self.has(Self::DEBUG_FRAME) { DEBUG_FRAME } else { EH_FRAME };
        let mut sections = vec![(TEXT, text.len()), (unwind_info, frames.len())];
        if self.has(Self::HAS_TABLE) {
            sections.push((EH_FRAME_HDR, table.len()));
        }
        if self.has(Self::GO) {
            sections.push((GO, 0));
        }
        let entry = if self.has(Self::HAS_ENTRY) { TEXT.at } else { 0 };
        put(0, &header(sections.len() as u16 + 2, entry));
        put(64, &segment());
        put(NAMES_AT, NAMES);
        let mut headers = vec![0; 64];
        for (section, size) in sections {
            headers.extend(section_header(section.name, section.at, size));
        }
        headers.extend(section_header(0, NAMES_AT, NAMES.len()));
        put(HEADERS_AT, &headers);
        file
    }
}

/// Numbers in their order, each of so many bytes.
fn packed(fields: &[(u64, usize)]) -> Vec<u8> {
    fields.iter().flat_map(|&(number, bytes)| number.to_le_bytes().into_iter().take(bytes)).collect()
}

/// `Elf64_Ehdr`.
fn header(sections: u16, entry: u64) -> Vec<u8> {
    let identity = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";
    let machine = [(3, 2), (62, 2), (1, 4), (entry, 8), (64, 8), (HEADERS_AT, 8), (0, 4), (64, 2)];
    let tables = [(56, 2), (1, 2), (64, 2), (sections.into(), 2), (u64::from(sections) - 1, 2)];
    [&identity[..], &packed(&machine), &packed(&tables)].concat()
}

/// `Elf64_Phdr`: all of the file, readable and executable, at address 0.
fn segment() -> Vec<u8> {
    let size = FILE_SIZE as u64;
    packed(&[(1, 4), (5, 4), (0, 8), (0, 8), (0, 8), (size, 8), (size, 8), (4096, 8)])
}

/// `Elf64_Shdr`.
fn section_header(name: u32, at: u64, size: usize) -> Vec<u8> {
    packed(&[(name.into(), 4), (1, 4), (2, 8), (at, 8), (at, 8), (size as u64, 8), (0, 8), (1, 8), (0, 8)])
}
