//! `CPython`'s tables of lines: of each instruction of a function, the line that it is of.
//!
//! `Objects/lnotab_notes.txt` of 3.9 and 3.10, `Objects/locations.md` of 3.11 (`InternalDocs/code_objects.md` since 3.14).

/// How a table is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `co_lnotab`, until 3.9: pairs of how far on, and by how many lines.
    Steps,
    /// `co_linetable` of 3.10: pairs of how long, and by how many lines; some have no line.
    Ranges,
    /// `co_linetable` since 3.11: entries of different lengths.
    Locations,
}

/// The lines of a function.
#[derive(Clone, Debug)]
pub(super) struct CodeLines {
    pub(super) encoding: Encoding,
    /// The line on which it begins.
    pub(super) first: i32,
    pub(super) table: Vec<u8>,
}

/// Bytes of an instruction since 3.6.
const UNIT: i64 = 2;

impl CodeLines {
    /// The line of the instruction at an offset, bytes; a negative one is that of a function that has not begun.
    pub(super) fn at(&self, offset: i64) -> Option<u32> {
        let first = i64::from(self.first);
        let line = if offset < 0 {
            Some(first)
        } else {
            match self.encoding {
                Encoding::Steps => Some(steps(&self.table, first, offset)),
                Encoding::Ranges => ranges(&self.table, first, offset),
                Encoding::Locations => locations(&self.table, first, offset),
            }
        };
        u32::try_from(line?).ok()
    }
}

fn signed(byte: u8) -> i64 {
    i64::from(byte.cast_signed())
}

/// `PyCode_Addr2Line` of 3.9 (`Objects/codeobject.c`).
fn steps(table: &[u8], mut line: i64, offset: i64) -> i64 {
    let mut reached = 0;
    for step in table.chunks_exact(2) {
        reached += i64::from(step[0]);
        if reached > offset {
            break;
        }
        line += signed(step[1]);
    }
    line
}

/// `PyLineTable_NextAddressRange` of 3.10 (`Objects/codeobject.c`).
fn ranges(table: &[u8], mut line: i64, offset: i64) -> Option<i64> {
    const NO_LINE: i64 = -128;
    let mut end = 0;
    for range in table.chunks_exact(2) {
        end += i64::from(range[0]);
        let by = signed(range[1]);
        if by != NO_LINE {
            line += by;
        }
        if offset < end {
            return (by != NO_LINE).then_some(line);
        }
    }
    None
}

/// `advance` of 3.11 (`Objects/codeobject.c`).
fn locations(table: &[u8], mut line: i64, offset: i64) -> Option<i64> {
    let mut bytes = table.iter().copied();
    let mut end = 0;
    while let Some(head) = bytes.next() {
        // The kind of the entry, and how many instructions it is of.
        let kind = head >> 3 & 15;
        end += UNIT * (i64::from(head & 7) + 1);
        match kind {
            0..=9 => {
                bytes.next()?;
            }
            10..=12 => {
                line += i64::from(kind) - 10;
                bytes.next()?;
                bytes.next()?;
            }
            13 => line += signed_number(&mut bytes)?,
            14 => {
                line += signed_number(&mut bytes)?;
                for _ in 0..3 {
                    number(&mut bytes)?;
                }
            }
            // It has no line.
            _ => {}
        }
        if offset < end {
            return (kind != 15).then_some(line);
        }
    }
    None
}

/// Six bits a byte, the lowest first.
fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    const MORE: u8 = 64;
    let mut value = 0;
    // No number of CPython has more than 32 bits.
    for shift in (0..36).step_by(6) {
        let byte = bytes.next()?;
        value |= i64::from(byte & 63) << shift;
        if byte & MORE == 0 {
            return Some(value);
        }
    }
    None
}

/// The lowest bit is the sign.
fn signed_number(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let value = number(bytes)?;
    Some(if value & 1 != 0 { -(value >> 1) } else { value >> 1 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(encoding: Encoding, first: i32, table: &[u8], offsets: &[i64]) -> Vec<Option<u32>> {
        let lines = CodeLines { encoding, first, table: table.to_vec() };
        offsets.iter().map(|&offset| lines.at(offset)).collect()
    }

    #[test]
    fn steps_until_3_9() {
        // The second step is one of 300 bytes, the last leads back.
        let table = [4, 1, 255, 0, 45, 2, 6, 0xfe];
        let expected = [10, 10, 11, 11, 13, 11].map(Some);
        assert_eq!(lines(Encoding::Steps, 10, &table, &[-1, 2, 4, 302, 304, 310]), expected);
        assert_eq!(lines(Encoding::Steps, 10, &[], &[0]), [Some(10)]);
    }

    #[test]
    fn ranges_of_3_10() {
        // An empty range between, and one without a line.
        let table = [4, 1, 0, 5, 6, 0x80, 2, 0xfd];
        let expected = [Some(10), Some(11), None, Some(13), None];
        assert_eq!(lines(Encoding::Ranges, 10, &table, &[-1, 2, 4, 10, 12]), expected);
    }

    #[test]
    fn locations_since_3_11() {
        let head = |kind: u8, units: u8| 0x80 | kind << 3 | (units - 1);
        let table = [
            &[head(14, 1), 2, 0, 0, 1][..],  // one line on
            &[head(0, 2), 0x22],             // the same
            &[head(11, 1), 4, 8],            // one line on
            &[head(15, 1)],                  // none
            &[head(13, 8), 0b100_0001, 0b1], // 32 back
        ];
        let expected = [Some(40), Some(41), Some(41), Some(42), None, Some(10), None];
        assert_eq!(lines(Encoding::Locations, 40, &table.concat(), &[-2, 0, 4, 6, 8, 24, 26]), expected);
        assert_eq!(lines(Encoding::Locations, 40, &[head(14, 1), 2, 64, 64, 64, 64, 64, 64, 1], &[0]), [None]);
    }

    #[test]
    fn lines_below_zero_are_none() {
        assert_eq!(lines(Encoding::Steps, 1, &[0, 0x80], &[0]), [None]);
        assert_eq!(lines(Encoding::Steps, i32::MAX, &[0, 1], &[0]), [Some(1 << 31)]);
    }

    proptest! {
        #[test]
        fn any_table_is_read(table in prop::collection::vec(any::<u8>(), 0..400), first: i32, offset: i64, near in -2_i64..2000) {
            for encoding in [Encoding::Steps, Encoding::Ranges, Encoding::Locations] {
                let lines = CodeLines { encoding, first, table: table.clone() };
                lines.at(offset);
                lines.at(near);
            }
        }
    }
}
