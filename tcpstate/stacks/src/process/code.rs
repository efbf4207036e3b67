//! Where a process has its code.

use tcpstate_common::leak::{CODE_RANGES, CodeRanges};

use super::maps::{self, Mapping};

/// Where a process has its code; `None` when it is gone.
#[must_use]
pub fn of(pid: u32) -> Option<CodeRanges> {
    let text = maps::read(pid).ok()?;
    Some(ranges(maps::parse(&text)))
}

/// Executable mappings as a few ranges: those with the smallest gaps between them are merged until they fit.
///
/// What lies in a gap is taken for code, too; it only makes more places look distinct.
fn ranges<'a>(mappings: impl IntoIterator<Item = Mapping<'a>>) -> CodeRanges {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for mapping in mappings.into_iter().filter(|mapping| mapping.executable) {
        match merged.last_mut() {
            Some((_, end)) if *end == mapping.start => *end = mapping.end,
            _ => merged.push((mapping.start, mapping.end)),
        }
    }
    while merged.len() > CODE_RANGES {
        let gap = |index: &usize| merged[index + 1].0 - merged[*index].1;
        let Some(smallest) = (0..merged.len() - 1).min_by_key(gap) else { break };
        merged[smallest].1 = merged[smallest + 1].1;
        merged.remove(smallest + 1);
    }
    let mut code = CodeRanges { ranges: [[0; 2]; CODE_RANGES] };
    for (range, (start, end)) in code.ranges.iter_mut().zip(merged) {
        *range = [start, end - start];
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::maps::parse;

    #[test]
    fn our_own() {
        assert!(of(std::process::id()).is_some_and(|code| code.ranges[0][1] > 0));
    }

    #[test]
    fn neighbours_are_merged_until_they_fit() {
        let text = b"\
1000-2000 r-xp 00000000 08:01 1 /a
2000-3000 r-xp 00000000 08:01 1 /a
3000-4000 rw-p 00000000 08:01 1 /a
10000-11000 r-xp 00000000 08:01 2 /b
12000-13000 r-xp 00000000 08:01 3 /c
20000-21000 r-xp 00000000 08:01 4 /d
30000-31000 r-xp 00000000 08:01 5 /e
";
        let expected = [[0x1000, 0x2000], [0x10000, 0x3000], [0x20000, 0x1000], [0x30000, 0x1000]];
        assert_eq!(ranges(parse(text)).ranges, expected);
        assert_eq!(ranges(parse(b"")).ranges, [[0; 2]; CODE_RANGES]);
    }
}
