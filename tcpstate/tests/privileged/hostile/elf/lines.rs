//! Tables of lines with one number that no compiler writes, and some that do not end.

use anyhow::Result;

use super::{
    Elf, Hostile,
    bytes::{Bytes, sized},
};

pub(crate) const LINES: &[Hostile] = &[
    Hostile { name: "lines-no-range", make: |elf| lines(elf, Header { range: 0, ..SOUND }, &[200; 4]) },
    Hostile { name: "lines-no-opcodes", make: |elf| lines(elf, Header { opcodes: 0, ..SOUND }, &[200; 4]) },
    Hostile { name: "lines-all-opcodes", make: |elf| lines(elf, Header { opcodes: 255, ..SOUND }, &[200; 4]) },
    Hostile {
        name: "lines-no-instructions",
        make: |elf| lines(elf, Header { instruction: 0, operations: 0, ..SOUND }, &[200; 4]),
    },
    Hostile {
        name: "lines-long-instructions",
        make: |elf| lines(elf, Header { instruction: 255, operations: 255, ..SOUND }, &[8; 64]),
    },
    Hostile { name: "lines-version", make: |elf| lines(elf, Header { version: 77, ..SOUND }, &[]) },
    Hostile { name: "lines-version-5", make: version_5 },
    Hostile { name: "lines-without-end", make: |elf| lines(elf, SOUND, &vec![0x4b; 24 << 20]) },
    Hostile { name: "lines-without-progress", make: |elf| lines(elf, SOUND, &vec![1; 24 << 20]) },
    Hostile {
        name: "lines-backwards",
        make: |elf| lines(elf, SOUND, &[3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f, 1, 2, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]),
    },
    Hostile { name: "lines-file-beyond", make: |elf| lines(elf, SOUND, &[4, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 16]) },
    Hostile {
        name: "lines-odd-path",
        make: |elf| lines(elf, Header { file: "\u{1b}[2J/../\u{202e}\n<&>\".c", ..SOUND }, &[]),
    },
    Hostile { name: "lines-bytes", make: bytes },
];

/// What the header has.
#[derive(Clone, Copy)]
struct Header {
    version: u16,
    instruction: u8,
    operations: u8,
    range: u8,
    opcodes: u8,
    file: &'static str,
}

const SOUND: Header = Header { version: 4, instruction: 1, operations: 1, range: 14, opcodes: 13, file: "hostile.c" };

/// One line for all the code.
pub(crate) fn sound(elf: &Elf) -> Vec<u8> {
    table(elf, SOUND, &[])
}

/// These opcodes after the beginning of the code.
fn table(elf: &Elf, header: Header, opcodes: &[u8]) -> Vec<u8> {
    let mut numbers = Bytes::default();
    numbers.u8(header.instruction).u8(header.operations).u8(1).u8(0xfb).u8(header.range).u8(header.opcodes);
    numbers.raw(&[0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]).u8(0).text(header.file).raw(&[0; 3]).u8(0);
    let numbers = numbers.done();
    let length = u8::try_from(elf.text.end - elf.text.start).unwrap_or(u8::MAX);
    let mut content = Bytes::default();
    content.u16(header.version).raw(&sized(&numbers)).raw(&[0, 9, 2]).u64(elf.text.start).u8(1);
    sized(&content.raw(opcodes).raw(&[2, length, 0, 1, 1]).done())
}

/// With a unit that it belongs to.
fn lines(elf: &Elf, header: Header, opcodes: &[u8]) -> Result<Vec<u8>> {
    with(elf, table(elf, header, opcodes))
}

fn with(elf: &Elf, table: Vec<u8>) -> Result<Vec<u8>> {
    let unit = Bytes::default().u16(4).u32(0).u8(8).u8(1).u64(0).u32(u32::try_from(elf.text.end)?).u32(0).done();
    let abbreviations = [1, 0x11, 0, 0x11, 1, 0x12, 6, 0x10, 0x17, 0, 0, 0];
    let elf = elf.clone().with(".debug_abbrev", abbreviations.into()).with(".debug_info", sized(&unit));
    elf.with(".debug_line", table).build()
}

/// Directories and files of so many fields that there are never so many.
fn version_5(elf: &Elf) -> Result<Vec<u8>> {
    let mut numbers = Bytes::default();
    numbers.raw(&[1, 1, 1, 0xfb, 14, 13]).raw(&[0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]);
    numbers.u8(1).leb(1).leb(0x08).leb(u64::MAX >> 2).raw(&[0; 64]);
    let numbers = numbers.done();
    with(elf, sized(&Bytes::default().u16(5).u8(8).u8(0).raw(&sized(&numbers)).done()))
}

/// Every number of the header something else.
fn bytes(elf: &Elf) -> Result<Vec<u8>> {
    let mut table = sound(elf);
    for (index, byte) in table.iter_mut().enumerate().skip(10).take(60) {
        *byte ^= 0x80 | index.to_le_bytes()[0];
    }
    with(elf, table)
}
