//! Debug info that is nested, multiplied and referred to without end.

use anyhow::Result;

use super::{
    Elf, Hostile,
    bytes::{Bytes, sized},
    lines,
};

pub(crate) const DWARF: &[Hostile] = &[
    Hostile { name: "dwarf-nested-inlined", make: |elf| nested(elf, INLINED, 100_000) },
    Hostile { name: "dwarf-nested-blocks", make: |elf| nested(elf, BLOCK, 1_000_000) },
    Hostile { name: "dwarf-shared-ranges", make: shared_ranges },
    Hostile { name: "dwarf-origin-of-itself", make: |elf| origins(elf, 1) },
    Hostile { name: "dwarf-origins-without-end", make: |elf| origins(elf, 200_000) },
    Hostile { name: "dwarf-abbreviations-beyond", make: |elf| unit(elf, &[9; 64], None) },
    Hostile { name: "dwarf-many-abbreviations", make: many_abbreviations },
    Hostile { name: "dwarf-indirect-forms", make: indirect },
    Hostile { name: "dwarf-many-units", make: many_units },
    Hostile { name: "dwarf-long-name", make: |elf| called(elf, &"n".repeat(8 << 20)) },
    Hostile { name: "dwarf-odd-name", make: |elf| called(elf, "\u{1b}[2J\u{202e}\n\u{7f}<&>\"") },
    Hostile { name: "dwarf-version", make: |elf| elf.clone().with(".debug_info", sized(&[0xff; 64])).build() },
    Hostile { name: "dwarf-length-of-64-bits", make: |elf| elf.clone().with(".debug_info", vec![0xff; 64]).build() },
    Hostile { name: "dwarf-index", make: index },
];

const UNIT: u8 = 1;
const FUNCTION: u8 = 2;
const INLINED: u8 = 3;
const BLOCK: u8 = 4;
const RANGED: u8 = 5;
const COPY: u8 = 6;
const INDIRECT: u8 = 7;

/// Code, tag, whether it has children, then pairs of attribute and form.
const ABBREVIATIONS: &[&[u8]] = &[
    &[UNIT, 0x11, 1, 0x11, 1, 0x12, 6, 0x25, 8, 0x10, 0x17, 0, 0],
    &[FUNCTION, 0x2e, 1, 3, 8, 0x11, 1, 0x12, 6, 0, 0],
    &[INLINED, 0x1d, 1, 0, 0],
    &[BLOCK, 0x0b, 1, 0, 0],
    &[RANGED, 0x2e, 0, 0x55, 0x17, 0, 0],
    // An origin within the unit.
    &[COPY, 0x2e, 0, 0x31, 0x13, 0x11, 1, 0x12, 6, 0, 0],
    &[INDIRECT, 0x2e, 0, 3, 0x16, 0x11, 1, 0x12, 6, 0, 0],
    &[0],
];

/// Size of the header of a unit.
const UNIT_HEADER: usize = 11;

fn unit_begin(elf: &Elf) -> Vec<u8> {
    let size = u32::try_from(elf.text.end).unwrap_or(u32::MAX);
    Bytes::default().u8(UNIT).u64(0).u32(size).text("compiler").u32(0).done()
}

fn function(elf: &Elf, name: &str) -> Vec<u8> {
    let size = u32::try_from(elf.text.end - elf.text.start).unwrap_or(u32::MAX);
    Bytes::default().u8(FUNCTION).text(name).u64(elf.text.start).u32(size).done()
}

/// A unit of version 4 with these entries behind its own.
fn framed(elf: &Elf, entries: &[u8]) -> Vec<u8> {
    let header = Bytes::default().u16(4).u32(0).u8(8).done();
    sized(&[&header, &*unit_begin(elf), entries, &[0; 4]].concat())
}

fn unit(elf: &Elf, entries: &[u8], ranges: Option<Vec<u8>>) -> Result<Vec<u8>> {
    let elf = elf.clone().with(".debug_abbrev", ABBREVIATIONS.concat()).with(".debug_info", framed(elf, entries));
    let elf = elf.clone().with(".debug_line", lines::sound(&elf));
    match ranges {
        Some(ranges) => elf.with(".debug_ranges", ranges).build(),
        None => elf.build(),
    }
}

fn nested(elf: &Elf, code: u8, depth: usize) -> Result<Vec<u8>> {
    let entries = Bytes::default().raw(&function(elf, "nested")).repeat(&[code], depth).repeat(&[0], depth + 1).done();
    unit(elf, &entries, None)
}

/// Ten thousand functions, all of the same ten thousand ranges.
fn shared_ranges(elf: &Elf) -> Result<Vec<u8>> {
    let mut ranges = Bytes::default();
    for index in 0..10_000 {
        ranges.u64(elf.text.start + index * 32).u64(elf.text.start + index * 32 + 16);
    }
    let entries = Bytes::default().repeat(&[RANGED, 0, 0, 0, 0], 30_000).done();
    unit(elf, &entries, Some(ranges.u64(0).u64(0).done()))
}

/// Functions each of which is a copy of the next one, and the last one of the first.
fn origins(elf: &Elf, count: usize) -> Result<Vec<u8>> {
    let first = UNIT_HEADER + unit_begin(elf).len();
    let size = 1 + 4 + 8 + 4;
    let mut entries = Bytes::default();
    for index in 0..count {
        let origin = u32::try_from(first + (index + 1) % count * size)?;
        entries.u8(COPY).u32(origin).u64(elf.text.start).u32(u32::try_from(elf.text.end - elf.text.start)?);
    }
    unit(elf, &entries.done(), None)
}

/// 48 MB, with numbers in no order.
fn many_abbreviations(elf: &Elf) -> Result<Vec<u8>> {
    let mut abbreviations = Bytes::default();
    for index in 0..3_000_000_u64 {
        abbreviations.leb(10 + index.wrapping_mul(0x9e37_79b9) % (1 << 40)).raw(&[0x2e, 0, 3, 8, 0x11, 1, 0, 0]);
    }
    let info = framed(elf, &function(elf, "abbreviated"));
    let all = [abbreviations.done(), ABBREVIATIONS.concat()].concat();
    elf.clone().with(".debug_abbrev", all).with(".debug_info", info).build()
}

/// `DW_FORM_indirect`, whose form is `DW_FORM_indirect`, and so on.
fn indirect(elf: &Elf) -> Result<Vec<u8>> {
    let entries =
        Bytes::default().u8(INDIRECT).repeat(&[0x16], 8 << 20).u8(8).text("late").u64(elf.text.start).u32(64).done();
    unit(elf, &entries, None)
}

fn many_units(elf: &Elf) -> Result<Vec<u8>> {
    let info = framed(elf, &function(elf, "one_of_many")).repeat(300_000);
    elf.clone().with(".debug_abbrev", ABBREVIATIONS.concat()).with(".debug_info", info).build()
}

fn called(elf: &Elf, name: &str) -> Result<Vec<u8>> {
    unit(elf, &[function(elf, name), vec![0]].concat(), None)
}

/// Tables that are to make finding faster.
fn index(elf: &Elf) -> Result<Vec<u8>> {
    let lying = Bytes::default().u16(2).u32(u32::MAX).u8(255).u8(255).raw(&[0xff; 64]).done();
    let elf = elf.clone().with(".debug_aranges", sized(&lying)).with(".debug_names", sized(&[0xff; 256]));
    elf.with(".gdb_index", vec![0xff; 256]).with(".debug_str", vec![b'n'; 1 << 20]).build()
}
