//! Functions, inlined ones too, and lines from DWARF.
//!
//! Debug info of hundreds of megabytes is read where the address leads and nowhere else: an index says which unit has the code, a
//! list of the unit's functions which one it is. Only these and the unit's lines are kept, as numbers. Walks go on without recursion,
//! in steps that [`Work`] counts, so neither depth nor length of what a file says takes more than it may.

mod abbreviations;
mod extent;
mod functions;
mod inlined;
mod lines;
mod names;
mod sections;
mod text;
mod unit;
mod units;

use std::collections::HashMap;

use super::{
    elf::ObjectFile,
    function::{Function, Source},
    links::{DebugFiles, supplementary},
    name,
    work::{Failure, Work},
};
use abbreviations::AbbreviationCache;
use functions::FunctionIndex;
use lines::{LineTable, Lines};
use names::EntryNames;
use sections::Sections;
use unit::DebugUnit;
use units::UnitIndex;

/// How many units that claim the same address are asked.
const MAX_UNITS: usize = 16;
/// How often a file may take too long before nothing more of its debug info is read.
const MAX_FAILURES: u32 = 3;
/// What the lists of functions and lines of one file may take, bytes. Then they are made anew where they are needed.
const MAX_PARTS: usize = 128 << 20;

/// What debug info says of an address.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Innermost first. Without any, the place may still be known.
    pub(super) functions: Vec<Function>,
    /// The instruction's place.
    pub(super) source: Option<Source>,
}

/// The debug info of one file.
#[derive(Debug)]
pub(super) struct DebugInfo {
    sections: Sections,
    /// The file that it shares with others, and its sections.
    supplementary: Option<(ObjectFile, Sections)>,
    index: UnitIndex,
    supplementary_units: Vec<u64>,
    parts: HashMap<usize, UnitParts>,
    /// Of all of `parts`.
    parts_size: usize,
    abbreviations: AbbreviationCache,
    failures: u32,
}

/// What is kept of a unit; `None` inside: it is too much, or makes no sense.
#[derive(Debug, Default)]
struct UnitParts {
    functions: Option<Option<FunctionIndex>>,
    lines: Option<Option<Lines>>,
}

impl UnitParts {
    fn size(&self) -> usize {
        let functions = self.functions.iter().flatten().map(FunctionIndex::size).sum::<usize>();
        // And what the map takes for it.
        size_of::<Self>() + functions + self.lines.iter().flatten().map(Lines::size).sum::<usize>()
    }
}

impl DebugInfo {
    /// Makes the index of `file`. `None`: there is no debug info in it.
    pub(super) fn read(file: &ObjectFile, files: &mut dyn DebugFiles, work: &mut Work) -> Option<Self> {
        if !file.has(".debug_info") {
            return None;
        }
        let sections = Sections::load(file, 0);
        let supplementary = supplementary(file, files).map(|shared| {
            let of_shared = Sections::load(&shared, sections.size());
            (shared, of_shared)
        });
        let mut abbreviations = AbbreviationCache::default();
        let index = UnitIndex::read(&sections.dwarf(file), &mut abbreviations, work);
        let supplementary_units = supplementary
            .as_ref()
            .map(|(shared, sections)| units::offsets(&sections.dwarf(shared), work))
            .unwrap_or_default();
        let failures = u32::from(work.was_too_much());
        Some(Self {
            sections,
            supplementary,
            index,
            supplementary_units,
            parts: HashMap::new(),
            parts_size: 0,
            abbreviations,
            failures,
        })
    }

    /// What is kept of it, bytes.
    pub(super) fn size(&self) -> usize {
        let supplementary = self.supplementary.as_ref().map_or(0, |(_, sections)| sections.size());
        let units = self.supplementary_units.capacity() * size_of::<u64>();
        self.sections.size() + supplementary + self.index.size() + units + self.abbreviations.size() + self.parts_size
    }

    /// What it says of an address. `file` is that which it is of.
    pub(super) fn find(&mut self, file: &ObjectFile, address: u64, work: &mut Work) -> Answer {
        let mut answer = Answer::default();
        if self.failures >= MAX_FAILURES {
            return answer;
        }
        if self.parts_size > MAX_PARTS {
            self.parts.clear();
            self.parts_size = 0;
        }
        let mut dwarf = self.sections.dwarf(file);
        if let Some((file, sections)) = &self.supplementary {
            dwarf.set_sup(sections.dwarf(file));
        }
        for number in self.index.find(address).take(MAX_UNITS) {
            let mut names = EntryNames::new(&dwarf, &self.index.offsets, &mut self.abbreviations, work);
            if let Some(shared) = dwarf.sup() {
                names.share(shared, &self.supplementary_units);
            }
            let parts = self.parts.entry(number).or_default();
            let before = parts.size();
            let found = in_unit(&mut names, number, parts, address, &mut answer);
            self.parts_size += parts.size() - before;
            match found {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "a unit of debug info is not read"),
            }
        }
        if work.was_too_much() {
            self.failures += 1;
        }
        answer
    }
}

/// Looks into one unit. Whether it has a function there.
fn in_unit<'a>(
    names: &mut EntryNames<'_, 'a>,
    number: usize,
    parts: &mut UnitParts,
    address: u64,
    answer: &mut Answer,
) -> Result<bool, Failure> {
    let unit = names.unit(number)?;
    let dwarf = names.dwarf;
    // Either is of use without the other.
    let log = |error: &Failure| tracing::debug!(%error, "a unit of debug info is not read");
    let functions =
        parts.functions.get_or_insert_with(|| FunctionIndex::read(dwarf, &unit, names.work).inspect_err(log).ok());
    let function = functions.as_ref().and_then(|functions| functions.find(address));
    if function.is_none() && answer.source.is_some() {
        return Ok(false);
    }
    let lines = parts.lines.get_or_insert_with(|| Lines::read(dwarf, &unit, names.work).inspect_err(log).ok());
    let table = LineTable::read(dwarf, &unit, names.work).unwrap_or_default();
    let row = lines.as_ref().and_then(|lines| lines.find(address));
    let source = row.and_then(|(file, line)| table.source(dwarf, &unit, file, line));
    let name = function.and_then(|function| names.name(&unit, function).inspect_err(log).ok().flatten());
    let (Some(function), Some(name)) = (function, name) else {
        answer.source = answer.source.take().or(source);
        return Ok(false);
    };
    // Without knowing what was inlined, nobody knows whose line that is.
    let chain = inlined::chain(dwarf, &unit, function, address, names.work).inspect_err(log);
    let (inlined, source) = chain.map_or((Vec::new(), None), |chain| frames(names, &unit, &table, &chain, source));
    answer.functions = inlined;
    answer.functions.push(Function { name: name::readable(name), source, inlined: false });
    Ok(true)
}

/// The functions that were inlined, innermost first, and the place in the function that they were inlined into. Each is where the next
/// one was called.
fn frames<'a>(
    names: &mut EntryNames<'_, 'a>,
    unit: &DebugUnit<'a>,
    table: &LineTable<'a>,
    chain: &[inlined::Inlined],
    source: Option<Source>,
) -> (Vec<Function>, Option<Source>) {
    let mut source = source;
    let mut functions = Vec::with_capacity(chain.len() + 1);
    for inlined in chain.iter().rev() {
        let caller = inlined.file.and_then(|file| table.source(names.dwarf, unit, file, inlined.line));
        if let Ok(Some(name)) = names.name(unit, inlined.entry) {
            functions.push(Function { name: name::readable(name), source, inlined: true });
        }
        source = caller;
    }
    (functions, source)
}
