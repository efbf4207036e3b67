//! Which line of the source code an instruction is of.
//!
//! A line table is a program that makes rows. gimli can run it, but goes on by itself for as long as no row comes, and adds files to its
//! table for as long as the program says so; so it is run here, instruction by instruction, and each is work.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use gimli::{LineInstruction, LineProgramHeader, Reader};

use super::{
    sections::{Dwarf, SectionBytes},
    text::text,
    unit::DebugUnit,
};
use crate::symbolize::{
    function::Source,
    shortened::shortened_path,
    work::{Failure, Work},
};

/// How many rows the line table of a unit has. Units that were optimized as a whole have two million.
const MAX_ROWS: usize = 1 << 22;
/// The longest header of a line table, bytes: one of its bytes can say a file, which takes hundreds of times that in memory. One with
/// the names of 5,000 files is a third of it.
const MAX_HEADER: u64 = 512 << 10;

/// A line table's header: the names of files.
#[derive(Debug, Default)]
pub(super) struct LineTable<'a>(Option<LineProgramHeader<SectionBytes<'a>>>);

impl<'a> LineTable<'a> {
    /// That of `unit`; an empty one where it has none.
    pub(super) fn read(dwarf: &Dwarf<'a>, unit: &DebugUnit<'a>, work: &mut Work) -> Result<Self, Failure> {
        let Some(offset) = unit.lines else { return Ok(Self(None)) };
        let section = gimli::Section::reader(&dwarf.debug_line);
        let mut start = *section;
        start.skip(offset.0)?;
        let (_, format) = start.read_initial_length()?;
        // What follows the version: since DWARF 5 the sizes of an address and of a segment.
        if start.read_u16()? >= 5 {
            start.read_u16()?;
        }
        let length = start.read_length(format)? as u64;
        if length > MAX_HEADER {
            return Err(work.give_up());
        }
        work.spend(length as usize / 16)?;
        let raw = &unit.raw;
        let program = dwarf.debug_line.program(offset, raw.header.address_size(), raw.comp_dir, raw.name)?;
        Ok(Self(Some(program.header().clone())))
    }

    /// A file with its directories, and a line in it.
    pub(super) fn source(
        &self,
        dwarf: &Dwarf<'a>,
        unit: &DebugUnit<'a>,
        file: u64,
        line: Option<u32>,
    ) -> Option<Source> {
        let header = self.0.as_ref()?;
        let entry = header.file(file)?;
        let mut path = PathBuf::new();
        let mut push =
            |part: Option<&[u8]>| path.push(shortened_path(Path::new(OsStr::from_bytes(part.unwrap_or_default()))));
        push(unit.raw.comp_dir.map(|directory| directory.slice()));
        // Directory 0 is that of the unit.
        if entry.directory_index() != 0 {
            push(entry.directory(header).and_then(|directory| text(dwarf, &unit.raw, directory)));
        }
        push(Some(text(dwarf, &unit.raw, entry.path_name())?));
        Some(Source { file: shortened_path(&path), line })
    }
}

/// The rows of a line table.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rows: Vec<Row>,
    /// In order of `begin`.
    sequences: Vec<Sequence>,
}

/// What begins at an address.
#[derive(Clone, Copy, Debug)]
struct Row {
    address: u64,
    file: u32,
    /// 0: there is no line for it.
    line: u32,
}

/// Rows in the order of their addresses.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    begin: u64,
    end: u64,
    first: u32,
    count: u32,
}

impl Lines {
    /// Runs the line table of `unit`.
    pub(super) fn read<'a>(dwarf: &Dwarf<'a>, unit: &DebugUnit<'a>, work: &mut Work) -> Result<Self, Failure> {
        let table = LineTable::read(dwarf, unit, work)?;
        let mut lines = Self::default();
        if let Some(header) = &table.0 {
            lines.run(header, work)?;
        }
        lines.sequences.sort_unstable_by_key(|sequence| (sequence.begin, sequence.first));
        lines.rows.shrink_to_fit();
        lines.sequences.shrink_to_fit();
        Ok(lines)
    }

    /// The state machine of DWARF 5, section 6.2, for processors with one operation in an instruction.
    fn run(&mut self, header: &LineProgramHeader<SectionBytes<'_>>, work: &mut Work) -> Result<(), Failure> {
        if header.maximum_operations_per_instruction() != 1 {
            return Ok(());
        }
        let minimum = u64::from(header.minimum_instruction_length());
        let (line_base, line_range) = (i64::from(header.line_base()), header.line_range());
        let opcode_base = header.opcode_base();
        let start = State { address: 0, file: 1, line: 1, is_gone: false };
        let mut state = start;
        let mut first = self.rows.len();
        let mut instructions = header.instructions();
        while let Some(instruction) = instructions.next_instruction(header)? {
            work.spend(1)?;
            match instruction {
                LineInstruction::Special(opcode) => {
                    let adjusted = opcode - opcode_base;
                    state.advance_line(line_base + i64::from(adjusted % line_range));
                    state.advance(minimum.wrapping_mul(u64::from(adjusted / line_range)));
                    self.push(&state, first, work)?;
                }
                LineInstruction::Copy => self.push(&state, first, work)?,
                LineInstruction::AdvancePc(operations) => state.advance(minimum.wrapping_mul(operations)),
                LineInstruction::ConstAddPc => {
                    state.advance(minimum.wrapping_mul(u64::from((255 - opcode_base) / line_range)));
                }
                LineInstruction::FixedAddPc(bytes) => state.advance(u64::from(bytes)),
                LineInstruction::AdvanceLine(lines) => state.advance_line(lines),
                LineInstruction::SetFile(file) => state.file = file,
                LineInstruction::SetAddress(address) => {
                    // Of code that the linker left out; addresses that go backwards are of such, too.
                    state.is_gone = address < state.address || address >= TOMBSTONE;
                    if !state.is_gone {
                        state.address = address;
                    }
                }
                LineInstruction::EndSequence => {
                    self.end(&state, first);
                    state = start;
                    first = self.rows.len();
                }
                // Discriminators, columns, statements, and what is not known.
                _ => {}
            }
        }
        self.rows.truncate(first);
        Ok(())
    }

    /// Adds a row to the sequence that begins with row `first`. Of rows for one address the last one counts.
    fn push(&mut self, state: &State, first: usize, work: &mut Work) -> Result<(), Failure> {
        if state.is_gone {
            return Ok(());
        }
        let row = Row {
            address: state.address,
            file: u32::try_from(state.file).unwrap_or(u32::MAX),
            line: u32::try_from(state.line).unwrap_or(0),
        };
        let is_full = self.rows.len() >= MAX_ROWS;
        match self.rows.get_mut(first..).and_then(<[Row]>::last_mut) {
            Some(last) if last.address == row.address => *last = row,
            _ if is_full => return Err(work.give_up()),
            _ => self.rows.push(row),
        }
        Ok(())
    }

    fn end(&mut self, state: &State, first: usize) {
        let Some(begin) = self.rows.get(first).map(|row| row.address) else { return };
        if state.is_gone || state.address <= begin {
            self.rows.truncate(first);
            return;
        }
        let count = (self.rows.len() - first) as u32;
        self.sequences.push(Sequence { begin, end: state.address, first: first as u32, count });
    }

    /// Number of the file, and line, at `address`.
    pub(super) fn find(&self, address: u64) -> Option<(u64, Option<u32>)> {
        let before = self.sequences.partition_point(|sequence| sequence.begin <= address);
        let sequence = self.sequences[..before].iter().rev().take(2).find(|sequence| address < sequence.end)?;
        let rows = &self.rows[sequence.first as usize..][..sequence.count as usize];
        let row = rows[..rows.partition_point(|row| row.address <= address)].last()?;
        Some((u64::from(row.file), Some(row.line).filter(|&line| line > 0)))
    }

    /// The addresses that it has lines for.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.sequences.iter().map(|sequence| (sequence.begin, sequence.end))
    }

    /// What it takes of memory, bytes.
    pub(super) fn size(&self) -> usize {
        self.rows.capacity() * size_of::<Row>() + self.sequences.capacity() * size_of::<Sequence>()
    }
}

/// Addresses from here on stand for code that is not there (DWARF 6 says -1, linkers say -2, too).
const TOMBSTONE: u64 = u64::MAX - 1;

/// What the next row says.
#[derive(Clone, Copy, Debug)]
struct State {
    address: u64,
    file: u64,
    line: u64,
    is_gone: bool,
}

impl State {
    fn advance(&mut self, bytes: u64) {
        self.address = self.address.wrapping_add(bytes);
    }

    fn advance_line(&mut self, lines: i64) {
        self.line = self.line.saturating_add_signed(lines);
    }
}
