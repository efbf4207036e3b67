//! Names of Go functions, from the table with which the Go runtime prints its own stacks (`.gopclntab`): it is there in
//! stripped programs too. Written by Go 1.18 and later (`runtime/symtab.go`: `pcHeader`, `functab`, `_func`).
//!
//! Only names: the lines in it are those of inlined functions, whose names take another table.

use super::shortened::shortened;

/// First word of the table: since Go 1.18, and since Go 1.20.
const MAGIC: [u32; 2] = [0xffff_fff0, 0xffff_fff1];

/// The longest name that is read, bytes.
const MAX_TEXT: usize = 64 << 10;

/// Where the functions of one program are.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoFunctions {
    /// Address of the first function.
    text: u64,
    /// How many functions there are.
    count: usize,
    /// Where the names are.
    names: usize,
    /// Where the functions are: pairs of offsets, of the code from `text` and of the function from here.
    functions: usize,
}

impl GoFunctions {
    /// A table says where the code is, but for programs that can be loaded anywhere. There it is at `text`, the address of
    /// `.text`, unless another linker put code before it: the function at `entry`, where the program begins, tells.
    pub(super) fn new(table: &[u8], text: u64, entry: u64) -> Option<Self> {
        if !MAGIC.contains(&read_u32(table, 0)?) || table.get(7) != Some(&8) {
            return None;
        }
        let field = |index: usize| read_u64(table, 8 + index * 8);
        let offset = |index| usize::try_from(field(index)?).ok();
        let start = field(2)?;
        let functions = Self {
            text: if start == 0 { text } else { start },
            count: offset(0)?,
            names: offset(3)?,
            functions: offset(7)?,
        };
        let is_certain = start != 0 || functions.name(table, entry).is_some_and(|name| name.starts_with("_rt0_"));
        is_certain.then_some(functions)
    }

    /// Name of the function whose code is at `address`; `table` is that which this was made of.
    pub(super) fn name(&self, table: &[u8], address: u64) -> Option<String> {
        let code = u32::try_from(address.checked_sub(self.text)?).ok()?;
        let entry = |index: usize| read_u32(table, self.functions.checked_add(index.checked_mul(8)?)?);
        // The entry after the last function says where the code ends.
        if code < entry(0)? || code >= entry(self.count)? {
            return None;
        }
        let (mut low, mut high) = (0, self.count);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if entry(middle)? <= code { low = middle } else { high = middle }
        }
        let at = self.functions.checked_add(low.checked_mul(8)?)?;
        let function = self.functions.checked_add(read_u32(table, at.checked_add(4)?)? as usize)?;
        let name = self.names.checked_add(read_u32(table, function.checked_add(4)?)? as usize)?;
        let bytes = table.get(name..)?;
        let end = bytes.iter().take(MAX_TEXT).position(|&byte| byte == 0)?;
        (end > 0).then(|| shortened(&String::from_utf8_lossy(&bytes[..end])))
    }
}

fn read_u32(table: &[u8], at: usize) -> Option<u32> {
    table.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn read_u64(table: &[u8], at: usize) -> Option<u64> {
    table.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A table as the Go linker lays it out, of functions that follow each other.
    fn table(start: u64, functions: &[(&str, u32)]) -> Vec<u8> {
        let names_at = 8 + 8 * 8;
        let mut names = Vec::new();
        let mut name_offsets = Vec::new();
        for (name, _) in functions {
            name_offsets.push(names.len() as u32);
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        let functions_at = names_at + names.len();
        let first_function = functions.len() * 8 + 4;
        let mut table = Vec::new();
        table.extend(MAGIC[1].to_le_bytes());
        table.extend([0, 0, 1, 8]);
        for field in [functions.len() as u64, 0, start, names_at as u64, 0, 0, 0, functions_at as u64] {
            table.extend(field.to_le_bytes());
        }
        table.extend(names);
        let mut code = 0_u32;
        for (index, (_, size)) in functions.iter().enumerate() {
            table.extend(code.to_le_bytes());
            table.extend(((first_function + index * 8) as u32).to_le_bytes());
            code += size;
        }
        table.extend(code.to_le_bytes());
        let mut code = 0_u32;
        for ((_, size), name) in functions.iter().zip(name_offsets) {
            table.extend(code.to_le_bytes());
            table.extend(name.to_le_bytes());
            code += size;
        }
        table
    }

    const FUNCTIONS: [(&str, u32); 4] =
        [("_rt0_amd64_linux", 16), ("main.main", 32), ("main.(*Server).serve", 64), ("runtime.goexit", 16)];

    #[test]
    fn functions_by_address() {
        for (start, text, entry) in [(0x40_1000, 0, 0), (0, 0x40_1000, 0x40_1000)] {
            let table = table(start, &FUNCTIONS);
            let functions = GoFunctions::new(&table, text, entry).expect("a table");
            assert_eq!(functions.name(&table, 0x40_0fff), None);
            assert_eq!(functions.name(&table, 0x40_1010).as_deref(), Some("main.main"));
            assert_eq!(functions.name(&table, 0x40_102f).as_deref(), Some("main.main"));
            assert_eq!(functions.name(&table, 0x40_1030).as_deref(), Some("main.(*Server).serve"));
            assert_eq!(functions.name(&table, 0x40_107f).as_deref(), Some("runtime.goexit"));
            assert_eq!(functions.name(&table, 0x40_1080), None);
        }
    }

    #[test]
    fn code_that_may_be_anywhere_is_not_named() {
        for (text, entry) in [(0x40_1000, 0x40_1010), (0x40_1000, 0x40_0800), (0, 0)] {
            assert!(GoFunctions::new(&table(0, &FUNCTIONS[1..]), text, entry).is_none());
        }
    }

    #[test]
    fn older_tables_are_refused() {
        let mut old = table(0, &FUNCTIONS);
        old[..4].copy_from_slice(&0xffff_fffa_u32.to_le_bytes());
        assert!(GoFunctions::new(&old, 0, 0).is_none());
        assert!(GoFunctions::new(&[], 0, 0).is_none());
    }

    proptest! {
        #[test]
        fn never_panics(wrong in prop::collection::vec((4_usize..250, any::<u8>()), 0..12), length in 0_usize..300) {
            let mut bytes = table(0, &FUNCTIONS);
            for (at, byte) in wrong {
                if let Some(found) = bytes.get_mut(at) {
                    *found = byte;
                }
            }
            bytes.truncate(length);
            if let Some(functions) = GoFunctions::new(&bytes, 0, 0) {
                for address in [0, 1, 40, 100, 127, 128, u64::MAX] {
                    let _ = functions.name(&bytes, address);
                }
            }
        }
    }
}
