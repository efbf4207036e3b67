//! Names of code that a runtime compiled, from its perf map: lines of `START SIZE NAME`, numbers in hexadecimal
//! (`tools/perf/Documentation/jit-interface.txt`).

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    time::SystemTime,
};

use tcpstate_core::model::stack::Source;

use super::function::Function;
use crate::process::perf_map::PerfMapFile;

/// How much of a map is read, bytes: its end, which is the latest.
const MAX_MAP: u64 = 128 * 1024 * 1024;
/// How many processes' maps are kept.
const MAX_MAPS: usize = 16;

/// The maps that were read lately.
#[derive(Debug, Default)]
pub(super) struct PerfMaps {
    known: HashMap<u32, (Version, PerfMap)>,
}

/// What changes when a runtime writes to its map.
type Version = (u64, u64, u64, Option<SystemTime>);

impl PerfMaps {
    /// The map of a process as it is now. `None`: it has none.
    pub(super) fn get(&mut self, file: &PerfMapFile) -> Option<&PerfMap> {
        let mut open = file.open().ok()?;
        let metadata = open.metadata().ok()?;
        let version = (metadata.dev(), metadata.ino(), metadata.len(), metadata.modified().ok());
        if self.known.get(&file.pid()).is_none_or(|(known, _)| *known != version) {
            let map = PerfMap::parse(&read(&mut open, metadata.len()).ok()?);
            if self.known.len() >= MAX_MAPS {
                self.known.clear();
            }
            self.known.insert(file.pid(), (version, map));
        }
        self.known.get(&file.pid()).map(|(_, map)| map)
    }
}

fn read(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_MAP)))?;
    let mut text = Vec::new();
    file.take(MAX_MAP).read_to_end(&mut text)?;
    Ok(text)
}

/// Code by its first address: where it ends, and its name.
#[derive(Debug, Default)]
pub(super) struct PerfMap(BTreeMap<u64, (u64, String)>);

impl PerfMap {
    /// Reads a map. Lines that are none are passed over: the last one may be half written. Where code was replaced, the later
    /// line counts.
    fn parse(text: &[u8]) -> Self {
        let mut map = Self::default();
        for (start, end, name) in text.split(|&byte| byte == b'\n').filter_map(entry) {
            map.insert(start, end, name);
        }
        map
    }

    fn insert(&mut self, start: u64, end: u64, name: String) {
        let replaced: Vec<u64> = self.0.range(start..end).map(|(&start, _)| start).collect();
        for start in replaced {
            self.0.remove(&start);
        }
        if let Some((_, (before_end, _))) = self.0.range_mut(..start).next_back() {
            *before_end = start.min(*before_end);
        }
        self.0.insert(start, (end, name));
    }

    /// The name of the code at `address`.
    pub(super) fn name(&self, address: u64) -> Option<&str> {
        let (_, (end, name)) = self.0.range(..=address).next_back()?;
        (address < *end).then_some(name)
    }
}

/// What a runtime's name says: Python writes `py::NAME:FILE`, V8 `JS:*NAME FILE:LINE:COLUMN` with a mark for the compiler that
/// made the code (`LazyCompile:` before V8 9.7). Any other name stands for itself.
pub(super) fn function(name: &str) -> Function {
    let (name, source) = python(name).or_else(|| javascript(name)).unwrap_or((name, None));
    Function { name: if name.is_empty() { "(anonymous)" } else { name }.to_owned(), source, inlined: false }
}

fn python(name: &str) -> Option<(&str, Option<Source>)> {
    let (function, file) = name.strip_prefix("py::")?.split_once(':')?;
    Some((function, Some(Source { file: file.into(), line: None })))
}

fn javascript(name: &str) -> Option<(&str, Option<Source>)> {
    let rest = name.strip_prefix("JS:").or_else(|| name.strip_prefix("LazyCompile:"))?;
    let rest = rest.strip_prefix(['*', '~', '^', '+', '-']).unwrap_or(rest);
    // Either may contain spaces: an accessor is called `get NAME`.
    let at = [" /", " node:", " file:"].iter().filter_map(|start| rest.find(start)).min()?;
    let (function, source) = (&rest[..at], &rest[at + 1..]);
    let (file, line) = source.rsplit_once(':')?.0.rsplit_once(':')?;
    Some((function, Some(Source { file: file.into(), line: Some(line.parse().ok()?) })))
}

fn entry(line: &[u8]) -> Option<(u64, u64, String)> {
    let mut fields = line.splitn(3, |&byte| byte == b' ');
    let mut number = || u64::from_str_radix(str::from_utf8(fields.next()?).ok()?.trim_start_matches("0x"), 16).ok();
    let (start, size) = (number()?, number()?);
    let end = start.checked_add(size).filter(|&end| end > start)?;
    let name = String::from_utf8_lossy(fields.next()?.trim_ascii()).into_owned();
    (!name.is_empty()).then_some((start, end, name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_by_address() {
        let map = PerfMap::parse(
            b"7f00 10 py::handle:/srv/app.py\nrubbish\n0x7f20 8 JS:*take /srv/a b.js:3:4\n7f30 0 nothing\n7f40 20 \xff\n7f50 1",
        );
        assert_eq!(map.name(0x7eff), None);
        assert_eq!(map.name(0x7f00), Some("py::handle:/srv/app.py"));
        assert_eq!(map.name(0x7f0f), Some("py::handle:/srv/app.py"));
        assert_eq!(map.name(0x7f10), None);
        assert_eq!(map.name(0x7f24), Some("JS:*take /srv/a b.js:3:4"));
        assert_eq!(map.name(0x7f30), None);
        assert_eq!(map.name(0x7f50), Some("\u{fffd}"));
    }

    #[test]
    fn the_later_line_counts() {
        let map = PerfMap::parse(b"1000 100 old\n1200 100 other\n1080 100 new\n1210 10 newer\n");
        assert_eq!(map.name(0x107f), Some("old"));
        assert_eq!(map.name(0x1080), Some("new"));
        assert_eq!(map.name(0x120f), Some("other"));
        assert_eq!(map.name(0x1210), Some("newer"));
        assert_eq!(map.name(0x1220), None, "what is left of replaced code is nobody's");
    }

    fn written(source: &Source) -> String {
        let file = source.file.display();
        source.line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
    }

    #[test]
    fn names_of_runtimes() {
        for (name, expected, source) in [
            ("py::Pool.take:/srv/a:b.py", "Pool.take", Some("/srv/a:b.py")),
            ("JS:*take /srv/my app/pool.js:12:3", "take", Some("/srv/my app/pool.js:12")),
            ("JS:~get connecting node:net:700:17", "get connecting", Some("node:net:700")),
            ("LazyCompile:~ file:///srv/main.mjs:1:1", "(anonymous)", Some("file:///srv/main.mjs:1")),
            ("JS:*take", "JS:*take", None),
            ("JS:*take /srv/pool.js:x:3", "JS:*take /srv/pool.js:x:3", None),
            ("Ljava/lang/Thread;::run", "Ljava/lang/Thread;::run", None),
            ("Interpreter", "Interpreter", None),
            ("py::", "py::", None),
        ] {
            let function = function(name);
            assert_eq!(function.name, expected);
            assert_eq!(function.source.map(|source| written(&source)).as_deref(), source);
        }
    }

    proptest! {
        #[test]
        fn as_a_search_from_the_end(
            lines in proptest::collection::vec((0_u64..60, 1_u64..30), 0..20),
            address in 0_u64..90,
        ) {
            let text: String = lines.iter().enumerate().map(|(n, (start, size))| format!("{start:x} {size:x} f{n}\n")).collect();
            let latest = lines.iter().rposition(|(start, size)| (*start..start + size).contains(&address));
            let map = PerfMap::parse(text.as_bytes());
            if let Some(name) = map.name(address) {
                prop_assert_eq!(Some(name.to_owned()), latest.map(|n| format!("f{n}")));
            }
            // Nothing comes after it.
            if let Some((n, (start, _))) = lines.iter().enumerate().next_back() {
                let last = format!("f{n}");
                prop_assert_eq!(map.name(*start), Some(last.as_str()));
            }
        }

        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            PerfMap::parse(&text);
            function(&String::from_utf8_lossy(&text));
        }
    }
}
