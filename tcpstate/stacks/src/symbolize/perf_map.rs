//! Names of code that a runtime compiled, from its perf map: lines of `START SIZE NAME`, numbers in hexadecimal
//! (`tools/perf/Documentation/jit-interface.txt`).

use std::{
    borrow::Cow,
    collections::{BinaryHeap, HashMap},
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    time::SystemTime,
};

use super::shortened::MAX_NAME;

/// How much of a map is read, bytes: its end, which is the latest.
const MAX_MAP: u64 = 64 << 20;
/// How many lines of a map are read: the last ones.
const MAX_LINES: usize = 2 << 20;
/// What all maps may take of memory, bytes.
const MAX_SIZE: usize = 128 << 20;
/// How many processes' maps are kept.
const MAX_MAPS: usize = 16;

/// The process that a map is of: its number, and when it began.
type Process = (u32, Option<u64>);

/// The maps that were read lately.
#[derive(Debug, Default)]
pub(super) struct PerfMaps {
    /// With the number of the question that used it last.
    known: HashMap<Process, (Version, PerfMap, u64)>,
    questions: u64,
}

/// What changes when a runtime writes to its map.
type Version = (u64, u64, u64, Option<SystemTime>);

impl PerfMaps {
    /// The map of a process as it is now in `file`. `None`: it cannot be read.
    pub(super) fn get(&mut self, process: Process, file: &File) -> Option<&PerfMap> {
        let metadata = file.metadata().ok()?;
        let version = (metadata.dev(), metadata.ino(), metadata.len(), metadata.modified().ok());
        self.questions += 1;
        if self.known.get(&process).is_none_or(|(known, ..)| *known != version) {
            // Not both at once.
            self.known.remove(&process);
            let map = PerfMap::parse(read(file, metadata.len()).ok()?);
            self.forget(map.size());
            self.known.insert(process, (version, map, 0));
        }
        let (_, map, used) = self.known.get_mut(&process)?;
        *used = self.questions;
        Some(map)
    }

    /// Makes room for a map of `size` bytes: those go that were used least lately.
    fn forget(&mut self, size: usize) {
        let total =
            |known: &HashMap<_, (Version, PerfMap, u64)>| known.values().map(|(_, map, _)| map.size()).sum::<usize>();
        while (self.known.len() >= MAX_MAPS || total(&self.known) + size > MAX_SIZE)
            && let Some(&oldest) = self.known.iter().min_by_key(|(_, (.., used))| *used).map(|(process, _)| process)
        {
            self.known.remove(&oldest);
        }
    }
}

/// The end of a map, from the beginning of a line on.
fn read(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let skipped = length.saturating_sub(MAX_MAP);
    // The one byte before it says whether a line begins there.
    let mut offset = skipped.saturating_sub(1);
    let mut text = Vec::new();
    // Length is what a file claims: memory is taken for what comes.
    let mut piece = vec![0; 1 << 20];
    while text.len() as u64 <= MAX_MAP {
        let left = (MAX_MAP + 1).saturating_sub(text.len() as u64).min(piece.len() as u64) as usize;
        let count = file.read_at(&mut piece[..left], offset)?;
        if count == 0 {
            break;
        }
        text.extend_from_slice(&piece[..count]);
        offset += count as u64;
    }
    if skipped > 0 {
        let line = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |end| end + 1);
        text.drain(..line);
    }
    text.truncate(MAX_MAP as usize);
    text.shrink_to_fit();
    Ok(text)
}

/// A map: its text, and where the code is that its lines are of.
#[derive(Debug, Default)]
pub(super) struct PerfMap {
    text: Vec<u8>,
    /// In order of `start`, and apart from each other.
    entries: Vec<Entry>,
}

/// Code of one line.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    end: u64,
    /// Where its name begins in the text: that of a later line is greater.
    name: u32,
}

impl PerfMap {
    /// Reads a map. Lines that are none are passed over: the last one may be half written. Where code was replaced, the later
    /// line counts.
    fn parse(text: Vec<u8>) -> Self {
        let mut entries = Vec::new();
        let mut rest = &text[..];
        // From its end, so that of too many lines the last ones count.
        while entries.len() < MAX_LINES && !rest.is_empty() {
            let begin = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            entries.extend(entry(&rest[begin..], begin));
            rest = &rest[..begin.saturating_sub(1)];
        }
        entries.sort_unstable_by_key(|entry: &Entry| (entry.start, entry.name));
        let mut entries = replaced(entries);
        entries.shrink_to_fit();
        Self { text, entries }
    }

    /// The name of the code at `address`.
    pub(super) fn name(&self, address: u64) -> Option<Cow<'_, str>> {
        let before = self.entries.partition_point(|entry| entry.start <= address);
        let entry = self.entries[..before].last().filter(|entry| address < entry.end)?;
        let rest = self.text.get(entry.name as usize..)?;
        let rest = &rest[..rest.len().min(MAX_LINE)];
        let line = rest.split(|&byte| byte == b'\n').next()?;
        Some(String::from_utf8_lossy(line.trim_ascii()))
    }

    /// What it takes of memory, bytes.
    fn size(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}

/// How much of a name is looked at, bytes: it may have a path after it.
const MAX_LINE: usize = MAX_NAME + 4096 + 64;

/// Takes away code that later lines replaced. A line replaces all code that begins within its own, and cuts off what reaches into it.
fn replaced(sorted: Vec<Entry>) -> Vec<Entry> {
    // Lines that begin before the one that is looked at and reach beyond, the latest first: name and end.
    let mut reaching: BinaryHeap<(u32, u64)> = BinaryHeap::new();
    let is_kept: Vec<bool> = sorted
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            while reaching.peek().is_some_and(|&(_, end)| end <= entry.start) {
                reaching.pop();
            }
            let is_replaced = reaching.peek().is_some_and(|&(name, _)| name > entry.name);
            let is_repeated = sorted.get(index + 1).is_some_and(|next| next.start == entry.start);
            reaching.push((entry.name, entry.end));
            !is_replaced && !is_repeated
        })
        .collect();
    // Later lines that begin behind the one that is looked at, the nearest last.
    let mut later: Vec<Entry> = Vec::new();
    let mut kept = Vec::new();
    for (entry, is_kept) in sorted.into_iter().zip(is_kept).rev() {
        // What is older than this line and begins behind it cuts off nothing that this one does not.
        while later.last().is_some_and(|next| next.name < entry.name || next.start == entry.start) {
            later.pop();
        }
        if is_kept {
            let cut = later.last().map_or(u64::MAX, |next| next.start);
            kept.push(Entry { end: entry.end.min(cut), ..entry });
        }
        later.push(entry);
    }
    kept.reverse();
    kept
}

/// Code and name of a line that begins at `begin` in the text.
fn entry(line: &[u8], begin: usize) -> Option<Entry> {
    let mut fields = line.splitn(3, |&byte| byte == b' ');
    let mut number = || u64::from_str_radix(str::from_utf8(fields.next()?).ok()?.trim_start_matches("0x"), 16).ok();
    let (start, size) = (number()?, number()?);
    let end = start.checked_add(size).filter(|&end| end > start)?;
    let name = fields.next().filter(|name| !name.trim_ascii().is_empty())?;
    let name = u32::try_from(begin + line.len() - name.len()).ok()?;
    Some(Entry { start, end, name })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    #[test]
    fn names_by_address() {
        let map = PerfMap::parse(
            b"7f00 10 py::handle:/srv/app.py\nrubbish\n0x7f20 8 JS:*take /srv/a b.js:3:4\n7f30 0 nothing\n7f40 20 \xff\n7f50 1"
                .to_vec(),
        );
        let name = |address| map.name(address).map(Cow::into_owned);
        assert_eq!(name(0x7eff).as_deref(), None);
        assert_eq!(name(0x7f00).as_deref(), Some("py::handle:/srv/app.py"));
        assert_eq!(name(0x7f0f).as_deref(), Some("py::handle:/srv/app.py"));
        assert_eq!(name(0x7f10).as_deref(), None);
        assert_eq!(name(0x7f24).as_deref(), Some("JS:*take /srv/a b.js:3:4"));
        assert_eq!(name(0x7f30).as_deref(), None);
        assert_eq!(name(0x7f50).as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn the_later_line_counts() {
        let map = PerfMap::parse(b"1000 100 old\n1200 100 other\n1080 100 new\n1210 10 newer\n".to_vec());
        let name = |address| map.name(address).map(Cow::into_owned);
        assert_eq!(name(0x107f).as_deref(), Some("old"));
        assert_eq!(name(0x1080).as_deref(), Some("new"));
        assert_eq!(name(0x120f).as_deref(), Some("other"));
        assert_eq!(name(0x1210).as_deref(), Some("newer"));
        assert_eq!(name(0x1220).as_deref(), None, "what is left of replaced code is nobody's");
    }

    fn file(text: &[u8]) -> File {
        let file = File::from(memfd_create("map", MemfdFlags::CLOEXEC).expect("a memfd"));
        file.write_all_at(text, 0).expect("room");
        file
    }

    #[test]
    fn of_a_large_map_the_end_is_read() {
        let line = format!("1000 10 {}\n", "a".repeat(1 << 10));
        let mut text = line.repeat((MAX_MAP as usize / line.len()) + 10).into_bytes();
        let whole = text.len();
        // The first line that is read is cut off, and says another address.
        let cut = whole - MAX_MAP as usize;
        text[cut - 1..cut + 8].copy_from_slice(b"11111 10 ");
        text.extend_from_slice(b"5000 10 last\n");
        let mut maps = PerfMaps::default();
        let map = maps.get((1, None), &file(&text)).expect("a map");
        assert!(map.size() < MAX_MAP as usize + (8 << 20), "{}", map.size());
        assert_eq!(map.name(0x5000).as_deref(), Some("last"));
        assert_eq!(map.name(0x1000).map(|name| name.len()), Some(1 << 10));
        assert_eq!((map.name(0x1111), map.name(0x11111)), (None, None));
    }

    #[test]
    fn of_many_lines_the_last_count() {
        let text: String = (0..MAX_LINES + 10).map(|line| format!("{:x} 1 a\n", line + 1)).collect();
        let map = PerfMap::parse(text.into_bytes());
        assert_eq!((map.name(10), map.name(11).as_deref()), (None, Some("a")));
        assert_eq!(map.entries.len(), MAX_LINES);
    }

    #[test]
    fn maps_that_are_not_used_make_room() {
        let line = format!("1000 10 {}\n", "a".repeat(1 << 10));
        let text = line.repeat(40 << 10);
        let mut maps = PerfMaps::default();
        for process in [1, 2, 1, 3, 4] {
            maps.get((process, None), &file(text.as_bytes())).expect("a map");
            let total: usize = maps.known.values().map(|(_, map, _)| map.size()).sum();
            assert!(total <= MAX_SIZE, "{total}");
        }
        let mut kept: Vec<u32> = maps.known.keys().map(|(process, _)| *process).collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, 3, 4]);
    }

    #[test]
    fn of_a_long_name_the_beginning_is_read() {
        let map = PerfMap::parse(format!("1000 10 {}\n", "a".repeat(1 << 20)).into_bytes());
        assert_eq!(map.name(0x1000).map(|name| name.len()), Some(MAX_LINE));
    }

    proptest! {
        #[test]
        fn as_a_search_from_the_end(
            lines in proptest::collection::vec((0_u64..60, 1_u64..30), 0..20),
            address in 0_u64..90,
        ) {
            let text: String = lines.iter().enumerate().map(|(n, (start, size))| format!("{start:x} {size:x} f{n}\n")).collect();
            let latest = lines.iter().rposition(|(start, size)| (*start..start + size).contains(&address));
            let map = PerfMap::parse(text.into_bytes());
            if let Some(name) = map.name(address) {
                prop_assert_eq!(Some(name.into_owned()), latest.map(|n| format!("f{n}")));
            }
            // Nothing comes after it.
            if let Some((n, (start, _))) = lines.iter().enumerate().next_back() {
                let last = format!("f{n}");
                prop_assert_eq!(map.name(*start).map(Cow::into_owned), Some(last));
            }
        }

        /// The same as line by line.
        #[test]
        fn as_one_line_after_another(lines in proptest::collection::vec((0_u64..60, 1_u64..30), 0..20)) {
            let mut text = String::new();
            let mut expected = [None; 90];
            let mut owners: Vec<(u64, u64, usize)> = Vec::new();
            for (line, &(start, size)) in lines.iter().enumerate() {
                text += &format!("{start:x} {size:x} f{line}\n");
                let end = start + size;
                owners.retain(|(begin, ..)| !(start..end).contains(begin));
                for (begin, reach, _) in &mut owners {
                    if *begin < start {
                        *reach = start.min(*reach);
                    }
                }
                owners.push((start, end, line));
            }
            for (start, end, line) in owners {
                expected[start as usize..end as usize].fill(Some(line));
            }
            let map = PerfMap::parse(text.into_bytes());
            for (address, line) in expected.into_iter().enumerate() {
                let expected = line.map(|line| format!("f{line}"));
                prop_assert_eq!(map.name(address as u64).map(Cow::into_owned), expected, "at {:x}", address);
            }
        }

        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            PerfMap::parse(text);
        }
    }
}
