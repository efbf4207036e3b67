//! Where a process has its code.

use tcpstate_common::leak::{CODE_RANGES, CodeRanges};

/// Executable mappings as a few ranges: those with the smallest gaps between them are merged until they fit.
///
/// What lies in a gap is taken for code, too; it only makes more places look distinct.
pub(crate) fn ranges(mappings: impl IntoIterator<Item = (u64, u64)>) -> CodeRanges {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, last) in mappings {
        match merged.last_mut() {
            Some((_, end)) if *end == first => *end = last,
            _ => merged.push((first, last)),
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

    #[test]
    fn neighbours_are_merged_until_they_fit() {
        let mappings = [
            (0x1000, 0x2000),
            (0x2000, 0x3000),
            (0x10000, 0x11000),
            (0x12000, 0x13000),
            (0x20000, 0x21000),
            (0x30000, 0x31000),
        ];
        let expected = [[0x1000, 0x2000], [0x10000, 0x3000], [0x20000, 0x1000], [0x30000, 0x1000]];
        assert_eq!(ranges(mappings).ranges, expected);
        assert_eq!(ranges([]).ranges, [[0; 2]; CODE_RANGES]);
    }
}
