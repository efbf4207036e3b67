//! Files that were made to hurt who reads them.
//!
//! None of these tests knows how long anything takes: what would take too long or too much does not end, or ends the test.

pub(super) mod made;

use std::fs::File;

use gimli::constants::*;
use proptest::prelude::*;
use tcpstate_wire::ModuleId;

use super::{
    dwarf::{Answer, DebugInfo},
    elf::ObjectFile,
    files::{SymbolFile, SymbolFiles},
    function::Function,
    links::DebugFiles,
    work::Work,
};
use made::{Made, entry, table, uleb};

/// Where the function `f` of these files is, which has 0x100 bytes.
const CODE: u64 = 0x1000;
/// Steps that a debug build takes in a moment.
const STEPS: u64 = 1 << 21;

struct NoFiles;

impl DebugFiles for NoFiles {
    fn by_build_id(&mut self, _: &[u8]) -> Vec<File> {
        Vec::new()
    }

    fn by_link(&mut self, _: &std::path::Path) -> Vec<File> {
        Vec::new()
    }

    fn supplementary(&mut self, _: &std::path::Path, _: &[u8]) -> Vec<File> {
        Vec::new()
    }
}

/// What debug info says of an address, how much of it is kept, and whether the work was too much.
fn ask(made: &Made, address: u64) -> (Answer, usize, bool) {
    let file = ObjectFile::read(&made.file()).expect("an ELF file");
    let mut work = Work::new(STEPS);
    let Some(mut debug_info) = DebugInfo::read(&file, &mut NoFiles, &mut work) else {
        return (Answer::default(), 0, work.was_too_much());
    };
    let answer = debug_info.find(&file, address, &mut work);
    (answer, debug_info.size(), work.was_too_much())
}

fn names(functions: &[Function]) -> Vec<&str> {
    functions.iter().map(|function| &*function.name).collect()
}

fn line(function: &Function) -> Option<(String, Option<u32>)> {
    function.source.as_ref().map(|source| (source.file.display().to_string(), source.line))
}

/// The shapes of entries in these files, by their codes.
fn shapes() -> Vec<u8> {
    let range = [(DW_AT_low_pc, DW_FORM_addr), (DW_AT_high_pc, DW_FORM_data4)];
    let with = |first: &[(DwAt, DwForm)]| [first, &range].concat();
    table(&[
        (1, DW_TAG_compile_unit, true, with(&[(DW_AT_name, DW_FORM_string), (DW_AT_stmt_list, DW_FORM_sec_offset)])),
        (2, DW_TAG_subprogram, true, with(&[(DW_AT_name, DW_FORM_string)])),
        (3, DW_TAG_inlined_subroutine, true, vec![]),
        (
            4,
            DW_TAG_inlined_subroutine,
            true,
            with(&[
                (DW_AT_abstract_origin, DW_FORM_ref4),
                (DW_AT_call_file, DW_FORM_data1),
                (DW_AT_call_line, DW_FORM_data1),
            ]),
        ),
        (5, DW_TAG_subprogram, false, vec![(DW_AT_name, DW_FORM_string)]),
        (6, DW_TAG_subprogram, false, with(&[(DW_AT_abstract_origin, DW_FORM_ref4)])),
        (7, DW_TAG_subprogram, false, vec![(DW_AT_name, DW_FORM_string), (DW_AT_ranges, DW_FORM_sec_offset)]),
        (8, DW_TAG_subprogram, false, with(&[(DW_AT_specification, DW_FORM_ref_addr)])),
        (9, DW_TAG_subprogram, false, with(&[(DW_AT_name, DW_FORM_indirect)])),
        (10, DW_TAG_lexical_block, true, vec![]),
    ])
}

/// A unit with these entries in it.
fn unit(entries: &[u8]) -> Made {
    let first = entry(1).text("a.c").u32(0).u64(CODE).u32(0x100).done();
    Made::default()
        .with(".debug_abbrev", shapes())
        .with(".debug_info", made::unit(0, &[&first, entries, &[0]].concat()))
        .with(".debug_line", made::lines(&made::program(CODE, 0x100)))
}

/// The function `f` with these entries in it.
fn function(inside: &[u8]) -> Vec<u8> {
    [&entry(2).text("f").u64(CODE).u32(0x100).done()[..], inside, &[0]].concat()
}

fn inlined(origin: u32, start: u64, size: u32, line: u8) -> Vec<u8> {
    entry(4).u32(origin).u8(1).u8(line).u64(start).u32(size).done()
}

/// A file as a compiler writes it: `f` has `g` inlined, and that `h`.
fn sound() -> Made {
    let first = entry(1).text("a.c").u32(0).u64(CODE).u32(0x100).done().len() as u32 + 11;
    let (g, h) = (entry(5).text("g").done(), entry(5).text("_ZN1h4takeEi").done());
    let inside =
        [inlined(first, CODE + 0x10, 0x40, 7), inlined(first + g.len() as u32, CODE + 0x20, 0x10, 9), vec![0, 0]];
    unit(&[g, h, function(&inside.concat())].concat())
}

#[test]
fn what_is_sound_is_named() {
    let (answer, ..) = ask(&sound(), CODE + 0x28);
    assert_eq!(names(&answer.functions), ["h::take(int)", "g", "f"]);
    let lines: Vec<_> = answer.functions.iter().map(line).collect();
    let at = |line| Some(("a.c".to_owned(), Some(line)));
    assert_eq!(lines, [at(2), at(9), at(7)]);
    assert_eq!(names(&ask(&sound(), CODE + 0x18).0.functions), ["g", "f"]);
    assert_eq!(names(&ask(&sound(), CODE + 0x88).0.functions), ["f"]);
    assert!(ask(&sound(), CODE + 0x100).0.functions.is_empty());
}

#[test]
fn entries_nested_without_end() {
    const DEPTH: usize = 300_000;
    for opening in [entry(3).done(), entry(10).done(), function(&[])[..15].to_vec()] {
        let inside = [opening.repeat(DEPTH), vec![0; DEPTH]].concat();
        let (answer, size, _) = ask(&unit(&function(&inside)), CODE + 0x20);
        assert_eq!(names(&answer.functions).last(), Some(&"f"));
        assert!(size < 16 << 20, "{size}");
    }
}

#[test]
fn inlined_without_end() {
    // Deeper than anybody inlines: nobody knows then whose line it is.
    for (depth, expected) in [(100, 101), (10_000, 1)] {
        let g = entry(5).text("g").done();
        let origin = entry(1).text("a.c").u32(0).u64(CODE).u32(0x100).done().len() as u32 + 11;
        let inside = [inlined(origin, CODE, 0x100, 7).repeat(depth), vec![0; depth]].concat();
        let (answer, ..) = ask(&unit(&[g, function(&inside)].concat()), CODE + 0x20);
        assert_eq!(answer.functions.len(), expected);
        assert_eq!(answer.functions.iter().all(|function| function.source.is_some()), expected > 1);
    }
}

#[test]
fn ranges_that_are_shared() {
    // 2,000 functions have the same 20,000 ranges.
    let list: Vec<u8> = (0..20_000_u64).flat_map(|n| [CODE + n, CODE + n + 1]).flat_map(u64::to_le_bytes).collect();
    let functions = entry(7).text("g").u32(0).done().repeat(2000);
    let made = unit(&[functions, function(&[])].concat()).with(".debug_ranges", [list, vec![0; 16]].concat());
    let (answer, size, is_too_much) = ask(&made, CODE + 0x20);
    assert!(answer.functions.is_empty() && is_too_much);
    assert!(size < 64 << 20, "{size}");
}

#[test]
fn a_list_of_no_ranges() {
    // Each says another base, and none a range: nothing comes back for as long as it goes on.
    let bases: Vec<u8> = (0..4_000_000_u64).flat_map(|n| [u64::MAX, n]).flat_map(u64::to_le_bytes).collect();
    let made = unit(&[entry(7).text("g").u32(0).done(), function(&[])].concat()).with(".debug_ranges", bases);
    assert!(ask(&made, CODE + 0x20).2);
}

#[test]
fn origins_in_a_circle() {
    let begin = 11 + entry(1).text("a.c").u32(0).u64(CODE).u32(0x100).done().len() as u32;
    let leads_to = |origin: u32| entry(6).u32(origin).u64(CODE).u32(0x100).done();
    let declared = |origin: u32| entry(8).u32(origin).u64(CODE).u32(0x100).done();
    let size = leads_to(0).len() as u32;
    for entries in [
        leads_to(begin),
        [leads_to(begin + size), leads_to(begin)].concat(),
        declared(begin),
        [declared(begin + size), declared(begin)].concat(),
        [leads_to(begin + size), declared(begin)].concat(),
        leads_to(u32::MAX),
        declared(u32::MAX),
        declared(0),
        leads_to(0),
        leads_to(begin + 1),
    ] {
        let (answer, _, is_too_much) = ask(&unit(&entries), CODE + 0x20);
        assert!(names(&answer.functions).is_empty() && !is_too_much);
        // The place is known all the same.
        assert_eq!(answer.source.and_then(|source| source.line), Some(2));
    }
}

#[test]
fn shapes_without_end() {
    // Ten thousand units, each with another part of a large table.
    let shape = table(&[(1, DW_TAG_compile_unit, true, vec![(DW_AT_name, DW_FORM_string); 4000])]);
    let shapes = shape[..shape.len() - 1].repeat(100);
    let units: Vec<u8> = (0..10_000).flat_map(|n| made::unit(n * 8, &[2])).collect();
    let made = Made::default().with(".debug_abbrev", shapes).with(".debug_info", units);
    let (answer, size, is_too_much) = ask(&made, CODE);
    assert!(answer.functions.is_empty() && is_too_much);
    assert!(size < 64 << 20, "{size}");
}

#[test]
fn attributes_without_bytes() {
    // Each entry is one byte, and has a hundred thousand attributes.
    let many = table(&[
        (1, DW_TAG_compile_unit, true, vec![(DW_AT_low_pc, DW_FORM_addr), (DW_AT_high_pc, DW_FORM_data4)]),
        (2, DW_TAG_base_type, false, vec![(DW_AT_external, DW_FORM_flag_present); 100_000]),
    ]);
    let first = entry(1).u64(CODE).u32(0x100).done();
    let made = Made::default()
        .with(".debug_abbrev", many)
        .with(".debug_info", made::unit(0, &[first, vec![2; 1 << 20]].concat()));
    assert!(ask(&made, CODE + 0x20).2);
}

#[test]
fn forms_that_lead_to_forms() {
    let indirect = uleb(u64::from(DW_FORM_indirect.0)).repeat(1 << 20);
    let named = [indirect, uleb(u64::from(DW_FORM_string.0)), b"f\0".to_vec()].concat();
    let made = unit(&[&[9][..], &named, &CODE.to_le_bytes(), &0x100_u32.to_le_bytes()].concat());
    assert_eq!(names(&ask(&made, CODE + 0x20).0.functions), ["f"]);
    let endless = unit(&[&[9][..], &uleb(u64::from(DW_FORM_indirect.0)).repeat(1 << 20)].concat());
    assert!(ask(&endless, CODE + 0x20).0.functions.is_empty());
}

#[test]
fn line_tables_without_end() {
    let sequences = [&made::set_address(CODE)[..], &[1], &[2, 1], &[0, 1, 1]].concat();
    for program in [
        // Neither rows nor an end; rows for ever new addresses; sequences; files.
        vec![DW_LNS_negate_stmt.0; 4 << 20],
        [made::set_address(CODE), [DW_LNS_const_add_pc.0, DW_LNS_copy.0].repeat(2 << 20)].concat(),
        sequences.repeat(600_000),
        [0, 6, DW_LNE_define_file.0, b'a', 0, 0, 0, 0].repeat(3 << 20),
    ] {
        let made = unit(&function(&[])).with(".debug_line", made::lines(&program));
        let (answer, size, is_too_much) = ask(&made, CODE + 0x20);
        assert!(answer.functions.iter().all(|function| function.source.is_none()) && is_too_much);
        assert!(size < 128 << 20, "{size}");
    }
}

#[test]
fn lines_that_run_over() {
    let least = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];
    for number in [least, most] {
        let advance = [&[DW_LNS_advance_line.0][..], &number].concat();
        let program =
            [&made::set_address(CODE)[..], &advance, &advance, &[1, 3, 1, 1], &[2, 0x80, 2], &[0, 1, 1]].concat();
        let (answer, ..) = ask(&unit(&function(&[])).with(".debug_line", made::lines(&program)), CODE + 0x20);
        assert_eq!(names(&answer.functions), ["f"]);
    }
    let jump = [&[DW_LNS_advance_pc.0][..], &most, &[1]].concat();
    let program = [&made::set_address(CODE)[..], &[1], &jump, &jump, &[0, 1, 1]].concat();
    ask(&unit(&function(&[])).with(".debug_line", made::lines(&program)), CODE + 0x20);
}

#[test]
fn a_table_of_files_that_is_too_long() {
    let header = vec![b'a'; 1 << 20];
    let made = unit(&function(&[])).with(".debug_line", made::lines_with(&header, &made::program(CODE, 0x100)));
    let (answer, ..) = ask(&made, CODE + 0x20);
    assert_eq!((names(&answer.functions), line(&answer.functions[0])), (vec!["f"], None));
}

#[test]
fn names_without_end() {
    let long = "a".repeat(1 << 20);
    let made = unit(&[&[2][..], long.as_bytes(), &[0], &CODE.to_le_bytes(), &0x100_u32.to_le_bytes(), &[0]].concat());
    let (answer, ..) = ask(&made, CODE + 0x20);
    assert!(answer.functions[0].name.len() < 4096 && answer.functions[0].name.ends_with('…'));
}

#[test]
fn units_that_overlap() {
    let one = made::unit(0, &entry(1).text("a.c").u32(0).u64(CODE).u32(u32::MAX).done());
    let made = Made::default().with(".debug_abbrev", shapes()).with(".debug_info", one.repeat(50_000));
    assert!(ask(&made, CODE + 0x20).0.functions.is_empty());
}

#[test]
fn compressed_sections_that_lie() {
    let info =
        made::unit(0, &[entry(1).text("a.c").u32(0).u64(CODE).u32(0x100).done(), function(&[]), vec![0]].concat());
    let lines = made::lines(&made::program(CODE, 0x100));
    for (claim, expected) in [(info.len() as u64, 1), (u64::MAX, 0), (1 << 46, 0), (info.len() as u64 + 1, 0), (0, 0)] {
        let made = Made::default()
            .with(".debug_abbrev", shapes())
            .with_compressed(".debug_info", claim, &info)
            .with(".debug_line", lines.clone());
        let (answer, size, _) = ask(&made, CODE + 0x20);
        assert_eq!(answer.functions.len(), expected, "{claim}");
        assert!(size < 1 << 20, "{size}");
    }
}

/// The name that a file has for an address, debug info or symbols.
fn name(made: &Made, address: u64) -> Option<String> {
    let file = made.file();
    let mut files = SymbolFiles::default();
    let file = SymbolFile { id: ModuleId(1), file: &file };
    let functions = files.functions(file, &mut NoFiles, address);
    functions.first().map(|function| function.name.clone())
}

#[test]
fn symbol_tables() {
    let symbols =
        [made::symbol(1, CODE, 0x100), made::symbol(3, CODE + 0x200, u64::MAX), made::symbol(0, 0, 0)].concat();
    let made = Made::default().with_symbols(symbols, b"\0f\0g\0".to_vec());
    assert_eq!(name(&made, CODE + 0x20).as_deref(), Some("f"));
    assert_eq!(name(&made, u64::MAX).as_deref(), Some("g"), "its size does not run over");
    assert_eq!(name(&made, CODE + 0x180), None);
}

#[test]
fn symbol_tables_that_lie() {
    let symbol = made::symbol(1, CODE, 0x100);
    for (symbols, strings) in [
        (symbol.clone(), vec![b'a'; 1 << 20]),
        (symbol.clone(), vec![]),
        (made::symbol(u32::MAX, CODE, 0x100), b"\0f\0".to_vec()),
        (symbol[..20].to_vec(), b"\0f\0".to_vec()),
        (vec![], vec![]),
    ] {
        assert_eq!(name(&Made::default().with_symbols(symbols, strings), CODE + 0x20), None);
    }
    // Many at one address, and many that have it.
    let same = symbol.repeat(200_000);
    assert_eq!(name(&Made::default().with_symbols(same, b"\0f\0".to_vec()), CODE + 0x20).as_deref(), Some("f"));
    let nested: Vec<u8> = (0..200_000).flat_map(|n| made::symbol(1, n, 300_000 - n)).collect();
    assert_eq!(name(&Made::default().with_symbols(nested, b"\0f\0".to_vec()), 250_000).as_deref(), Some("f"));
}

#[test]
fn what_is_too_much_is_not_tried_again_and_again() {
    let list: Vec<u8> = (0..20_000_u64).flat_map(|n| [CODE + n, CODE + n + 1]).flat_map(u64::to_le_bytes).collect();
    let functions = entry(7).text("g").u32(0).done().repeat(2000);
    let made = unit(&functions).with(".debug_ranges", [list, vec![0; 16]].concat());
    let file = ObjectFile::read(&made.file()).expect("an ELF file");
    let mut debug_info = DebugInfo::read(&file, &mut NoFiles, &mut Work::new(STEPS)).expect("debug info");
    let mut work = Work::new(STEPS);
    debug_info.find(&file, CODE + 1, &mut work);
    assert!(work.was_too_much());
    let mut work = Work::new(STEPS);
    assert_eq!(debug_info.find(&file, CODE + 2, &mut work).source.and_then(|source| source.line), Some(2));
    assert!(!work.was_too_much());
}

/// Gives the same file for any link, and remembers what was asked for.
struct Given<'a> {
    file: &'a Made,
    asked: Vec<String>,
}

impl DebugFiles for Given<'_> {
    fn by_build_id(&mut self, id: &[u8]) -> Vec<File> {
        self.asked.push(format!("id {id:x?}"));
        vec![self.file.file()]
    }

    fn by_link(&mut self, name: &std::path::Path) -> Vec<File> {
        self.asked.push(format!("link {}", name.display()));
        vec![self.file.file()]
    }

    fn supplementary(&mut self, name: &std::path::Path, id: &[u8]) -> Vec<File> {
        self.asked.push(format!("shared {} {id:x?}", name.display()));
        vec![self.file.file()]
    }
}

/// The names at an address with `debug` as the debug file, and what was asked for.
fn linked(made: &Made, debug: &Made, address: u64) -> (Vec<String>, Vec<String>) {
    let mut given = Given { file: debug, asked: Vec::new() };
    let file = made.file();
    let mut files = SymbolFiles::default();
    let functions = files.functions(SymbolFile { id: ModuleId(1), file: &file }, &mut given, address);
    (functions.iter().map(|function| function.name.clone()).collect(), given.asked)
}

#[test]
fn debug_files_are_checked() {
    let with_id = |made: Made, id: &[u8]| made.with_note(".note.gnu.build-id", 3, id);
    let link = |name: &str, checksum: u32| {
        let padding = vec![0; 4 - name.len() % 4];
        Made::default().with(".gnu_debuglink", [name.as_bytes(), &padding, &checksum.to_le_bytes()].concat())
    };
    let checksum = crc32fast::hash(&sound().bytes());
    for (made, debug, names, asked) in [
        (link("a.debug", checksum), sound(), 3, vec!["link a.debug"]),
        (link("a.debug", checksum ^ 1), sound(), 0, vec!["link a.debug"]),
        (link("/etc/shadow", checksum), sound(), 0, vec![]),
        (link("../a.debug", checksum), sound(), 0, vec![]),
        (with_id(Made::default(), &[1, 2]), with_id(sound(), &[1, 2]), 3, vec!["id [1, 2]"]),
        (with_id(Made::default(), &[1, 2]), with_id(sound(), &[1, 3]), 0, vec!["id [1, 2]"]),
        (with_id(Made::default(), &[1, 2]), sound(), 0, vec!["id [1, 2]"]),
        (with_id(link("a.debug", checksum), &[1, 2]), sound(), 3, vec!["id [1, 2]", "link a.debug"]),
        // It has its own.
        (with_id(sound(), &[1, 2]), sound(), 3, vec![]),
    ] {
        let (found, were_asked) = linked(&made, &debug, CODE + 0x28);
        assert_eq!((found.len(), were_asked), (names, asked.into_iter().map(str::to_owned).collect()));
    }
}

#[test]
fn names_in_a_shared_file() {
    let shared = |id: &[u8]| unit(&entry(5).text("g").done()).with_note(".note.gnu.build-id", 3, id);
    let begin = 11 + entry(1).text("a.c").u32(0).u64(CODE).u32(0x100).done().len() as u32;
    let shapes = table(&[
        (1, DW_TAG_compile_unit, true, vec![(DW_AT_low_pc, DW_FORM_addr), (DW_AT_high_pc, DW_FORM_data4)]),
        (
            2,
            DW_TAG_subprogram,
            false,
            vec![
                (DW_AT_abstract_origin, DW_FORM_GNU_ref_alt),
                (DW_AT_low_pc, DW_FORM_addr),
                (DW_AT_high_pc, DW_FORM_data4),
            ],
        ),
    ]);
    let own = |origin: u32| {
        let first = entry(1).u64(CODE).u32(0x100).done();
        let function = entry(2).u32(origin).u64(CODE).u32(0x100).done();
        Made::default()
            .with(".debug_abbrev", shapes.clone())
            .with(".debug_info", made::unit(0, &[first, function, vec![0]].concat()))
            .with(".gnu_debugaltlink", b"/x/shared\0\x01\x02".to_vec())
    };
    let asked = vec!["shared /x/shared [1, 2]".to_owned()];
    assert_eq!(linked(&own(begin), &shared(&[1, 2]), CODE), (vec!["g".to_owned()], asked.clone()));
    assert_eq!(linked(&own(begin), &shared(&[1, 3]), CODE), (vec![], asked.clone()), "it is another file");
    for origin in [0, 1, begin + 1, u32::MAX] {
        assert_eq!(linked(&own(origin), &shared(&[1, 2]), CODE), (vec![], asked.clone()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    /// Nothing else than an answer comes of it.
    #[test]
    fn sound_files_with_wrong_bytes(
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sound().with_symbols(made::symbol(1, CODE, 0x100), b"\0f\0".to_vec()).bytes();
        for (at, byte) in wrong {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let file = made::file(&bytes);
        let mut files = SymbolFiles::default();
        for address in [0, CODE, CODE + 0x28, CODE + 0x88, CODE + 0x100, u64::MAX] {
            files.functions(SymbolFile { id: ModuleId(1), file: &file }, &mut NoFiles, address);
        }
    }

    /// The same, of each section by itself: most wrong bytes of a whole file are in its headers.
    #[test]
    fn sound_debug_info_with_wrong_bytes(
        section in prop::sample::select(vec![".debug_abbrev", ".debug_info", ".debug_line"]),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut made = sound();
        made.change(section, |bytes| {
            for (at, byte) in &wrong {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
        });
        for address in [0, CODE, CODE + 0x28, CODE + 0x88, u64::MAX] {
            ask(&made, address);
        }
    }

    #[test]
    fn any_bytes_as_debug_info(
        abbreviations in prop::collection::vec(any::<u8>(), 0..100),
        entries in prop::collection::vec(0_u8..12, 0..200),
        program in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let made = unit(&entries).with(".debug_line", made::lines(&program));
        ask(&made, CODE + 0x20);
        ask(&made.with(".debug_abbrev", abbreviations), CODE + 0x20);
    }
}
