//! A process that is a `CPython` 3.12, and such as lie.

mod made;

use proptest::prelude::*;

use super::*;
pub(in crate::interpreted) use made::Made;
use made::{CODES, FRAMES, INTERPRETER, NONE, POINTERS, RUNTIME, SLOT, STATES, TYPES, VERSION};

fn exports() -> Exports {
    Exports { runtime: RUNTIME, version: Some(VERSION), types: TYPES, none: NONE }
}

/// A `CPython` 3.12.
pub(in crate::interpreted) fn python() -> Python {
    Python { layout: known::layout(version::PythonVersion::V12).expect("a known one"), types: TYPES, none: NONE }
}

fn find(made: &mut Made) -> Result<FrameRecipe, Unfit> {
    Python::find(&exports(), &mut Memory::new(made, 8192)).map(|(_, recipe)| recipe)
}

/// The names of the frames of a thread, with their lines.
fn names(made: &mut Made, codes: &mut Codes) -> Vec<Option<(String, Option<u32>)>> {
    let mut memory = Memory::new(made, 1000);
    let recipe = python().layout.recipe(SLOT as u32);
    let (frames, _) = way::frames(&recipe, POINTERS[1], 64, &mut memory);
    let words: Vec<_> = frames.into_iter().map(|(_, words)| words).collect();
    let named = python().name(1, &words, codes, &mut memory);
    let name = |frame: InterpretedFrame| {
        let function = frame.function?;
        Some((function.name, function.source?.line))
    };
    named.into_iter().map(name).collect()
}

fn named(name: &str, line: u32) -> Option<(String, Option<u32>)> {
    Some((name.to_owned(), Some(line)))
}

#[test]
fn what_is_sound_is_found() {
    let recipe = FrameRecipe { start: SLOT, hops: [0, 56, 0, 0], hop_count: 3, next: 8, words: [0, 56, 64] };
    assert_eq!(find(&mut Made::sound()), Ok(recipe));
    assert_eq!(names(&mut Made::sound(), &mut Codes::default()), [named("Pool.take", 8), named("main", 7)]);
}

#[test]
fn what_is_where_a_module_has_it() {
    let exports = Exports::new([1, 2, 3, 4, 5, 6, 7, 8].map(|at: u64| Some(at.wrapping_neg())));
    let exports = exports.expect("a CPython").expect("all of it");
    let Exports { runtime, version, types, none } = exports.moved(8);
    assert_eq!((runtime, version, types.kind, types.frame, none), (7, Some(6), 5, 1, 0));
    assert!(Exports::new([None; 8]).is_none());
    let stripped = Exports::new([Some(1), None, None, None, None, None, None, None]);
    assert_eq!(stripped.expect("a CPython").expect_err("no types"), Unfit::Stripped);
}

#[test]
fn what_was_changed_is_told() {
    let unfit = |address, word| {
        let mut made = Made::sound();
        made.words(address, &[word]);
        find(&mut made).expect_err("a lie").to_string()
    };
    for (address, word, expected) in [
        (VERSION, 0x030f_00f0, "CPython 3.15 is not known"),
        (VERSION, 0x0308_00f0, "CPython 3.8 is not known"),
        (VERSION, u64::MAX, "a CPython whose version is not known"),
        // Another layout, of which not all agrees.
        (VERSION, 0x030b_02f0, "CPython 3.11 whose type `code` is not what is known of it"),
        (VERSION, 0x030d_00f0, "CPython 3.13 without an offset that makes sense of itself"),
        (TYPES.text + 8, TYPES.code, "CPython 3.12 whose type `str` is not what is known of it"),
        (TYPES.code + 32, 200, "CPython 3.12 whose type `code` is not what is known of it"),
        (TYPES.code + 240, u64::MAX, "CPython 3.12 whose type `code` is not what is known of it"),
        (RUNTIME + 40, 0, "CPython 3.12 whose threads are not found"),
        (STATES[0] + 16, STATES[0], "CPython 3.12 whose threads are not found"),
        (INTERPRETER + 72, 0, "CPython 3.12 whose threads are not found"),
        (CODES[0] + 8, TYPES.text, "CPython 3.12 whose frames are not what is known of it"),
        (FRAMES[0] + 56, CODES[0] + 192 + 16, "CPython 3.12 whose frames are not what is known of it"),
    ] {
        assert_eq!(unfit(address, word), expected, "{address:#x}");
    }
}

#[test]
fn places_of_the_state_are_common_to_all_threads() {
    // One that is no key in use, one that only one thread has, and one of an extension module's own.
    let mut made = Made::sound();
    for (pointer, state) in POINTERS.into_iter().zip(STATES) {
        made.words(pointer + 0x300, &[0, state]);
        made.words(pointer + 0x350, &[1, state]);
    }
    made.words(POINTERS[0] + 0x310, &[1, STATES[0]]);
    assert_eq!(find(&mut made).map(|recipe| recipe.start), Ok(SLOT));
    // A thread that has none tells nothing, but one with another place does.
    made.words(POINTERS[1] + SLOT, &[0]);
    made.words(POINTERS[1] + 0x358, &[0]);
    assert!(find(&mut made).is_ok());
    made.words(POINTERS[1] + 0x370, &[1, STATES[1]]);
    let error = find(&mut made).expect_err("no common place");
    assert_eq!(error.to_string(), "CPython 3.12 whose threads have their state at no common place");
}

#[test]
fn threads_that_execute_nothing() {
    let mut made = Made::sound();
    for state in STATES {
        made.words(state + 0x100, &[0]);
    }
    assert_eq!(
        find(&mut made).map_err(|error| error.to_string()),
        Err("CPython 3.12 none of whose threads executes a function".to_owned())
    );
}

#[test]
fn lists_without_end() {
    let mut made = Made::sound();
    // None of them is a thread's, so that all are looked at.
    made.words(INTERPRETER, &[INTERPRETER]);
    made.words(STATES[0] + 8, &[STATES[0]]);
    made.words(STATES[0] + 136, &[0x100]);
    find(&mut made).expect_err("no thread");
    assert!(made.reads <= 8192, "{}", made.reads);
    let mut made = Made::sound();
    made.words(FRAMES[3] + 8, &[FRAMES[0]]);
    assert!(find(&mut made).is_ok());
}

#[test]
fn code_is_read_again_only_when_it_changed() {
    let (mut made, mut codes) = (Made::sound(), Codes::default());
    let expected = [named("Pool.take", 8), named("main", 7)];
    assert_eq!(names(&mut made, &mut codes), expected);
    let before = std::mem::take(&mut made.reads);
    // The count of references is of no code.
    made.words(CODES[0], &[9]);
    assert_eq!(names(&mut made, &mut codes), expected);
    assert!(made.reads < before);
    made.code(CODES[0], "Pool.give");
    made.words(CODES[0] + 24, &[1]);
    assert_eq!(names(&mut made, &mut codes), [named("Pool.give", 8), named("main", 7)]);
    made.words(CODES[0] + 8, &[TYPES.text]);
    assert_eq!(names(&mut made, &mut codes), [None, named("main", 7)]);
    assert_eq!(codes.len(), 1);
}

#[test]
fn entries() {
    let mut made = Made::sound();
    let mut memory = Memory::new(&mut made, 1000);
    let of = |code: u64, owner: u64| [code, code.wrapping_add(192), owner << 48];
    let frames =
        [of(NONE, 3), of(CODES[0], 0), of(CODES[1], 0), of(NONE, 0), of(CODES[0], 2), of(1, 4), of(CODES[1], 1)];
    let named = python().name(1, &frames, &mut Codes::default(), &mut memory);
    let entries: Vec<_> = named.iter().map(|frame| (frame.code, frame.is_entry)).collect();
    assert_eq!(entries, [(CODES[0], false), (CODES[1], true), (CODES[0], true), (CODES[1], false)]);
}

/// Words that hurt.
fn word() -> impl Strategy<Value = u64> {
    let known = [RUNTIME, INTERPRETER, STATES[0], POINTERS[0], FRAMES[1], CODES[0], CODES[0] + 0x200, TYPES.code];
    prop_oneof![any::<u64>(), 0_u64..300, prop::sample::select(known.to_vec()), Just(u64::MAX), Just(u64::MAX - 7)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_process_is_known_or_not(
        wrong in prop::collection::vec((any::<prop::sample::Index>(), word()), 1..12),
        other in prop_oneof![Just(None), word().prop_map(Some)],
    ) {
        let mut made = Made::sound();
        let addresses: Vec<_> = made.words.keys().copied().collect();
        for (index, word) in wrong {
            made.words(*index.get(&addresses), &[word]);
        }
        made.other = other;
        let _ = find(&mut made);
        prop_assert!(made.reads <= 8192);
        names(&mut made, &mut Codes::default());
    }

    #[test]
    fn any_frames_are_named(words in prop::collection::vec((word(), word(), word()), 0..40)) {
        let mut made = Made::sound();
        made.other = Some(1);
        let frames: Vec<_> = words.into_iter().map(|(code, at, flags)| [code, at, flags]).collect();
        for version in [version::PythonVersion::V8, version::PythonVersion::V10, version::PythonVersion::V11, version::PythonVersion::V12] {
            let python = Python { layout: known::layout(version).expect("a known one"), ..python() };
            let named = python.name(1, &frames, &mut Codes::default(), &mut Memory::new(&mut made, 1000));
            prop_assert!(named.len() <= frames.len());
        }
    }
}
