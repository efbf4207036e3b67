//! Names from tables of ELF symbols.

use std::cmp::Reverse;

use object::{LittleEndian, elf};

use super::elf::{ObjectFile, SymbolTable};

/// How many symbols of one table are known. A browser has a million and a half.
const MAX_SYMBOLS: usize = 1 << 21;
/// How many symbols of one table are looked at, variables and all.
const MAX_TABLE: usize = 1 << 24;
/// How many symbols at and before an address are looked at for one that has it.
const MAX_NEAR: usize = 64;
/// The longest name that is read, bytes. What takes no end by then is none.
const MAX_TEXT: usize = 64 << 10;

type Symbol = elf::Sym64<LittleEndian>;

/// Which table it is: what is known of symbols without a size differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extern {
    /// `.symtab`: all symbols, so one without a size may go on to the next.
    No,
    /// `.dynsym`: some symbols, so one without a size has its first address.
    Only,
}

/// The functions of a table, by address.
#[derive(Debug)]
pub(super) struct SymbolIndex {
    /// Address, and number in the table; of those at one address the largest first.
    sorted: Vec<(u64, u32)>,
    /// Whether they are all.
    is_whole: bool,
    kind: Extern,
}

fn symbols<'a>(table: &SymbolTable<'a>) -> &'a [Symbol] {
    let count = table.symbols.len() / size_of::<Symbol>();
    object::slice_from_bytes(table.symbols, count).map_or(&[], |(symbols, _)| symbols)
}

impl SymbolIndex {
    /// Reads a table.
    pub(super) fn read(table: &SymbolTable<'_>, kind: Extern) -> Self {
        let symbols = symbols(table);
        let functions = symbols.iter().take(MAX_TABLE).enumerate().filter(|(_, symbol)| is_function(symbol));
        let mut sorted: Vec<_> = functions
            .map(|(index, symbol)| (symbol.st_value.get(LittleEndian), index as u32))
            .take(MAX_SYMBOLS)
            .collect();
        let is_whole = sorted.len() < MAX_SYMBOLS && symbols.len() <= MAX_TABLE;
        sorted.sort_unstable_by_key(|&(address, index)| {
            (address, Reverse(symbols.get(index as usize).map_or(0, |symbol| symbol.st_size.get(LittleEndian))), index)
        });
        sorted.shrink_to_fit();
        Self { sorted, is_whole, kind }
    }

    /// The name of the function at `address`. `table` is that which this was made of, in `file`.
    pub(super) fn name<'a>(&self, file: &ObjectFile, table: &SymbolTable<'a>, address: u64) -> Option<&'a [u8]> {
        let symbols = symbols(table);
        let before = self.sorted.partition_point(|&(start, _)| start <= address);
        let nearest = self.sorted[..before].last()?.0;
        let begin = self.sorted[..before].partition_point(|&(start, _)| start < nearest);
        let at = |entries: &[(u64, u32)]| {
            let symbols = entries.iter().filter_map(|&(_, index)| symbols.get(index as usize)).take(MAX_NEAR);
            symbols.collect::<Vec<&Symbol>>()
        };
        let group = at(&self.sorted[begin..before]);
        let size = |symbol: &Symbol| symbol.st_size.get(LittleEndian);
        let has = |symbol: &&&Symbol| size(symbol) > 0 && address - symbol.st_value.get(LittleEndian) < size(symbol);
        // Of several names for the same code the plainest is told.
        if let Some(largest) = group.iter().find(has) {
            let same = group.iter().filter(|symbol| size(symbol) == size(largest));
            let names = same.filter_map(|symbol| name(table, symbol));
            return names.min_by_key(|name| name.iter().take_while(|&&byte| byte == b'_').count());
        }
        let reaches = |symbol: &&&Symbol| match self.kind {
            Extern::No => self.is_whole && file.is_in_section(symbol.st_shndx.get(LittleEndian), address),
            Extern::Only => address == nearest,
        };
        let sizeless =
            group.iter().filter(|symbol| size(symbol) == 0).filter(reaches).find_map(|symbol| name(table, symbol));
        // A label within a function ends before the function does.
        sizeless.or_else(|| {
            let further = at(&self.sorted[begin.saturating_sub(MAX_NEAR)..begin]);
            further.iter().rev().find(has).and_then(|symbol| name(table, symbol))
        })
    }

    /// What it takes of memory, bytes.
    pub(super) fn size(&self) -> usize {
        self.sorted.capacity() * size_of::<(u64, u32)>()
    }
}

/// Where the variables with these names are that a table defines; of two with one name the first.
pub(super) fn addresses<const N: usize>(table: &SymbolTable<'_>, names: [&str; N]) -> [Option<u64>; N] {
    let mut found = [None; N];
    let is_variable = |symbol: &&Symbol| {
        symbol.st_info & 0xf == elf::STT_OBJECT && symbol.st_shndx.get(LittleEndian) != elf::SHN_UNDEF
    };
    for symbol in symbols(table).iter().take(MAX_TABLE).filter(is_variable) {
        let Some(rest) = table.strings.get(symbol.st_name.get(LittleEndian) as usize..) else { continue };
        for (wanted, found) in names.iter().zip(&mut found) {
            if found.is_none() && rest.strip_prefix(wanted.as_bytes()).is_some_and(|end| end.first() == Some(&0)) {
                *found = Some(symbol.st_value.get(LittleEndian));
            }
        }
    }
    found
}

/// Of code, or of what may be code.
fn is_function(symbol: &Symbol) -> bool {
    matches!(symbol.st_info & 0xf, elf::STT_NOTYPE | elf::STT_FUNC | elf::STT_GNU_IFUNC)
        && symbol.st_shndx.get(LittleEndian) != elf::SHN_UNDEF
        && symbol.st_name.get(LittleEndian) != 0
}

fn name<'a>(table: &SymbolTable<'a>, symbol: &Symbol) -> Option<&'a [u8]> {
    let rest = table.strings.get(symbol.st_name.get(LittleEndian) as usize..)?;
    let end = rest.iter().take(MAX_TEXT).position(|&byte| byte == 0)?;
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::hostile::made, *};

    /// A symbol of this type in this section.
    fn symbol(name: u32, kind: u8, section: u8, address: u64) -> Vec<u8> {
        let mut symbol = made::symbol(name, address, 8);
        (symbol[4], symbol[6]) = (0x10 | kind, section);
        symbol
    }

    #[test]
    fn variables_that_are_defined() {
        let strings = b"\0one\0two\0three";
        let symbols = [
            symbol(5, elf::STT_OBJECT, 0, 1),
            symbol(5, elf::STT_FUNC, 1, 2),
            symbol(6, elf::STT_OBJECT, 1, 3),
            symbol(u32::MAX, elf::STT_OBJECT, 1, 4),
            symbol(5, elf::STT_OBJECT, 1, 5),
            symbol(5, elf::STT_OBJECT, 1, 6),
            // It has no end.
            symbol(9, elf::STT_OBJECT, 1, 7),
        ];
        let table = SymbolTable { symbols: &symbols.concat(), strings };
        assert_eq!(addresses(&table, ["one", "two", "three", "wo"]), [None, Some(5), None, Some(3)]);
    }

    proptest! {
        #[test]
        fn any_table_is_read(symbols in prop::collection::vec(any::<u8>(), 0..200), strings in "[a\0]{0,40}") {
            addresses(&SymbolTable { symbols: &symbols, strings: strings.as_bytes() }, ["a", "aa", ""]);
        }
    }
}
