//! Names from files: debug info, symbols, and the table of the Go runtime.

use std::{collections::HashMap, fs::File, mem, sync::Arc};

use tcpstate_wire::ModuleId;

use super::{
    dwarf::DebugInfo,
    elf::ObjectFile,
    function::{Function, Source},
    go::GoFunctions,
    links::{DebugFiles, by_build_id_or_link},
    name,
    symbols::{Extern, SymbolIndex},
    work::Work,
};

/// How many addresses are remembered with their names.
const MAX_NAMES: usize = 64 * 1024;
/// How much memory these names may take, bytes.
const MAX_NAMES_SIZE: usize = 32 << 20;
/// How many files are kept read. Each is mapped.
const MAX_FILES: usize = 128;
/// What all of them may take of memory besides what is mapped, bytes.
const MAX_SIZE: usize = 192 << 20;

/// A file that stacks lead through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SymbolFile<'a> {
    /// Unique number of it.
    pub(crate) id: ModuleId,
    /// The file itself.
    pub(crate) file: &'a File,
}

/// The files that were read.
#[derive(Debug, Default)]
pub(crate) struct SymbolFiles {
    open: HashMap<ModuleId, OpenFile>,
    /// What all of `open` take, bytes.
    size: usize,
    questions: u64,
    names: HashMap<(ModuleId, u64), Arc<[Function]>>,
    names_size: usize,
}

impl SymbolFiles {
    /// The functions at an address of a file, innermost first; none when no name is known. Opens nothing: `debug_files` does.
    pub(crate) fn functions(
        &mut self,
        file: SymbolFile<'_>,
        debug_files: &mut dyn DebugFiles,
        address: u64,
    ) -> Arc<[Function]> {
        if let Some(names) = self.names.get(&(file.id, address)) {
            return Arc::clone(names);
        }
        let mut work = Work::default();
        self.questions += 1;
        let open = self.open.entry(file.id).or_insert_with(|| OpenFile {
            read: ReadFile::new(file, debug_files, &mut work),
            used: 0,
            size: 0,
        });
        let read = &mut open.read;
        let functions = read.as_mut().map_or_else(Vec::new, |read| read.functions(address, &mut work));
        if let Some(read) = read.as_mut().filter(|read| work.was_too_much() && !read.was_too_much) {
            read.was_too_much = true;
        }
        open.used = self.questions;
        let size_now = open.read.as_ref().map_or(0, ReadFile::size);
        self.size = self.size - mem::replace(&mut open.size, size_now) + size_now;
        self.forget();
        let functions: Arc<[Function]> = functions.into();
        self.names_size += size(&functions);
        if self.names.len() >= MAX_NAMES || self.names_size > MAX_NAMES_SIZE {
            self.names.clear();
            self.names_size = size(&functions);
        }
        self.names.insert((file.id, address), Arc::clone(&functions));
        functions
    }

    /// Whether debug info of a file that is open was too much to read.
    pub(crate) fn was_too_much(&self, id: ModuleId) -> bool {
        self.open.get(&id).and_then(|open| open.read.as_ref()).is_some_and(|read| read.was_too_much)
    }

    /// Closes the files that were used least lately, while they are too many or too large. The last one stays.
    fn forget(&mut self) {
        while self.open.len() > 1 && (self.open.len() > MAX_FILES || self.size > MAX_SIZE) {
            let Some(&oldest) = self.open.iter().min_by_key(|(_, open)| open.used).map(|(id, _)| id) else { return };
            self.size -= self.open.remove(&oldest).map_or(0, |open| open.size);
        }
    }

    /// Gives back what was read. The names that were found stay.
    pub(crate) fn close(&mut self) {
        self.open = HashMap::new();
        self.size = 0;
    }
}

/// A file that was opened.
#[derive(Debug)]
struct OpenFile {
    /// `None`: nothing can be read of it.
    read: Option<ReadFile>,
    /// Number of the question that used it last.
    used: u64,
    /// What it takes of memory, bytes.
    size: usize,
}

/// What functions take of memory, bytes.
fn size(functions: &[Function]) -> usize {
    let texts = functions
        .iter()
        .map(|function| function.name.capacity() + function.source.as_ref().map_or(0, |source| source.file.capacity()));
    size_of_val(functions) + size_of::<(ModuleId, u64, usize)>() + texts.sum::<usize>()
}

/// A file, and the one with its debug info.
#[derive(Debug)]
struct ReadFile {
    debug: Option<NamedFile>,
    own: NamedFile,
    go: Option<GoFunctions>,
    was_too_much: bool,
}

impl ReadFile {
    fn new(file: SymbolFile<'_>, debug_files: &mut dyn DebugFiles, work: &mut Work) -> Option<Self> {
        let own = ObjectFile::read(file.file)
            .inspect_err(|error| tracing::debug!(module = file.id.0, %error, "no names in this file"))
            .ok()?;
        let debug = if own.has(".debug_info") { None } else { by_build_id_or_link(&own, debug_files) };
        let debug = debug.map(|file| NamedFile::new(file, debug_files, work));
        let go = own.plain(".gopclntab").and_then(|table| GoFunctions::new(table, own.text(), own.entry()));
        Some(Self { debug, own: NamedFile::new(own, debug_files, work), go, was_too_much: false })
    }

    /// Debug info in a file of its own comes first. It may lack symbols that the file itself has, and what cannot be read as debug
    /// info may still have symbols.
    fn functions(&mut self, address: u64, work: &mut Work) -> Vec<Function> {
        let mut source = None;
        for file in self.debug.iter_mut().chain([&mut self.own]) {
            let functions = file.functions(address, &mut source, work);
            if !functions.is_empty() {
                return functions;
            }
        }
        let table = self.own.file.plain(".gopclntab");
        let name = self.go.and_then(|functions| functions.name(table?, address));
        name.map(|name| Function { name, source, inlined: false }).into_iter().collect()
    }

    fn size(&self) -> usize {
        self.own.size() + self.debug.as_ref().map_or(0, NamedFile::size)
    }
}

/// One file with names.
#[derive(Debug)]
struct NamedFile {
    file: ObjectFile,
    debug_info: Option<DebugInfo>,
    /// Of `.symtab` and `.dynsym`, made when they are wanted.
    symbols: [Option<SymbolIndex>; 2],
}

impl NamedFile {
    fn new(file: ObjectFile, debug_files: &mut dyn DebugFiles, work: &mut Work) -> Self {
        let debug_info = DebugInfo::read(&file, debug_files, work);
        Self { file, debug_info, symbols: [None, None] }
    }

    /// What it says itself; the place in `source`, if it is known where the name is not.
    fn functions(&mut self, address: u64, source: &mut Option<Source>, work: &mut Work) -> Vec<Function> {
        if let Some(debug_info) = &mut self.debug_info {
            let answer = debug_info.find(&self.file, address, work);
            if !answer.functions.is_empty() {
                return answer.functions;
            }
            *source = source.take().or(answer.source);
        }
        let tables = [(self.file.symbols(), Extern::No), (self.file.dynamic_symbols(), Extern::Only)];
        for ((table, kind), index) in tables.into_iter().zip(&mut self.symbols) {
            let Some(table) = table else { continue };
            let index = index.get_or_insert_with(|| SymbolIndex::read(&table, kind));
            if let Some(name) = index.name(&self.file, &table, address) {
                return vec![Function { name: name::readable(name), source: source.take(), inlined: false }];
            }
        }
        Vec::new()
    }

    fn size(&self) -> usize {
        let symbols = self.symbols.iter().flatten().map(SymbolIndex::size).sum::<usize>();
        self.debug_info.as_ref().map_or(0, DebugInfo::size) + symbols
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{
        super::hostile::made::{self, Made},
        *,
    };

    struct NoFiles;

    impl DebugFiles for NoFiles {
        fn by_build_id(&mut self, _: &[u8]) -> Vec<File> {
            Vec::new()
        }

        fn by_link(&mut self, _: &Path) -> Vec<File> {
            Vec::new()
        }

        fn supplementary(&mut self, _: &Path, _: &[u8]) -> Vec<File> {
            Vec::new()
        }
    }

    fn named() -> File {
        Made::default().with_symbols(made::symbol(1, 0x1000, 0x100), b"\0f\0".to_vec()).file()
    }

    #[test]
    fn files_that_are_not_used_are_closed() {
        let file = named();
        let mut files = SymbolFiles::default();
        let ask = |files: &mut SymbolFiles, id| {
            let names = files.functions(SymbolFile { id: ModuleId(id), file: &file }, &mut NoFiles, 0x1000);
            assert_eq!(names.last().map(|function| &*function.name), Some("f"));
        };
        let mut largest = 0;
        for id in 0..MAX_FILES as u32 + 20 {
            ask(&mut files, 0);
            ask(&mut files, id);
            // The names are known, so that only others count as use.
            files.names.clear();
            let sizes: usize = files.open.values().map(|open| open.size).sum();
            assert_eq!(sizes, files.size);
            assert!(files.open.len() <= MAX_FILES && (files.size <= MAX_SIZE || files.open.len() == 1));
            assert!(files.open.contains_key(&ModuleId(0)) && files.open.contains_key(&ModuleId(id)));
            largest = largest.max(files.size);
        }
        assert!(largest > 0);
        files.close();
        assert_eq!((files.open.len(), files.size), (0, 0));
    }

    #[test]
    fn names_that_are_kept_are_counted() {
        let file = named();
        let mut files = SymbolFiles::default();
        for address in 0..MAX_NAMES as u64 + 10 {
            files.functions(SymbolFile { id: ModuleId(0), file: &file }, &mut NoFiles, u64::MAX - address);
            assert!(files.names.len() <= MAX_NAMES && files.names_size <= MAX_NAMES_SIZE);
        }
        assert!(files.names.len() < MAX_NAMES);
    }
}
