//! Tables of abbreviations: the shapes of entries.
//!
//! Each unit names one, and each may name a part of another's, so that thousands of units can make thousands of large tables out of one
//! section. Hence a table is measured before it is read, and counts as work.

use std::{collections::HashMap, sync::Arc};

use gimli::{Abbreviations, DebugAbbrevOffset, EndianSlice, LittleEndian, Reader};

use super::sections::{Dwarf, SectionBytes};
use crate::symbolize::work::{Failure, Work};

/// The longest table, bytes. Those of linkers and compilers that share one have some tens of thousands.
const MAX_TABLE: usize = 1 << 20;
/// How much memory a byte of a table takes once read: two bytes say an attribute, which takes 24.
const EXPANSION: usize = 16;
/// How much memory tables may take together, bytes. Then they are read anew.
const MAX_SIZE: usize = 32 << 20;

/// The tables that were read, by file (that of the unit or the one it shares with others) and offset.
#[derive(Debug, Default)]
pub(super) struct AbbreviationCache {
    known: HashMap<(bool, usize), Arc<Abbreviations>>,
    size: usize,
}

impl AbbreviationCache {
    /// What they take of memory, bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The table at `offset`.
    pub(super) fn get(
        &mut self,
        dwarf: &Dwarf<'_>,
        is_shared: bool,
        offset: usize,
        work: &mut Work,
    ) -> Result<Arc<Abbreviations>, Failure> {
        if let Some(table) = self.known.get(&(is_shared, offset)) {
            return Ok(Arc::clone(table));
        }
        let mut rest = at(dwarf, offset)?;
        let begin = rest;
        while declaration(&mut rest, work)?.is_some() {}
        let length = begin.len() - rest.len();
        let table = Arc::new(parse(begin.slice().get(..length).unwrap_or_default())?);
        let size = length * EXPANSION;
        if self.size + size > MAX_SIZE {
            self.known.clear();
            self.size = 0;
        }
        self.size += size;
        self.known.insert((is_shared, offset), Arc::clone(&table));
        Ok(table)
    }
}

/// The table at `offset` with that of its shapes alone that has this code: all that the first entry of a unit takes.
pub(super) fn single(dwarf: &Dwarf<'_>, offset: usize, code: u64, work: &mut Work) -> Result<Abbreviations, Failure> {
    let mut rest = at(dwarf, offset)?;
    loop {
        let begin = rest;
        match declaration(&mut rest, work)? {
            Some(found) if found == code => {
                return parse(begin.slice().get(..begin.len() - rest.len()).unwrap_or_default());
            }
            Some(_) => {}
            None => return Err(gimli::Error::InvalidAbbreviationCode(code).into()),
        }
    }
}

fn at<'a>(dwarf: &Dwarf<'a>, offset: usize) -> Result<SectionBytes<'a>, Failure> {
    let section = gimli::Section::reader(&dwarf.debug_abbrev).slice();
    let rest = section.get(offset..).ok_or(gimli::Error::OffsetOutOfBounds(offset as u64))?;
    Ok(EndianSlice::new(&rest[..rest.len().min(MAX_TABLE)], LittleEndian))
}

fn parse(table: &[u8]) -> Result<Abbreviations, Failure> {
    Ok(gimli::DebugAbbrev::new(table, LittleEndian).abbreviations(DebugAbbrevOffset(0))?)
}

/// Passes over one shape; its code, or `None` at the end of the table.
fn declaration(rest: &mut SectionBytes<'_>, work: &mut Work) -> Result<Option<u64>, Failure> {
    if rest.is_empty() {
        return Ok(None);
    }
    let code = rest.read_uleb128()?;
    if code == 0 {
        return Ok(None);
    }
    rest.read_uleb128()?;
    rest.read_u8()?;
    loop {
        work.spend(1)?;
        let (name, form) = (rest.read_uleb128()?, rest.read_uleb128()?);
        if form == u64::from(gimli::DW_FORM_implicit_const.0) {
            rest.read_sleb128()?;
        }
        if (name, form) == (0, 0) {
            return Ok(Some(code));
        }
    }
}
