//! What `CPython` says of itself since 3.13: `struct _Py_DebugOffsets` at the start of `_PyRuntime`
//! (`Include/internal/pycore_runtime.h` of 3.13, `Include/internal/pycore_debug_offsets.h` of 3.14).

use super::{
    exports::Exports,
    layout::{CodeLayout, EntryMark, FrameLayout, Instructions, InterpreterLayout, Layout, ThreadLayout},
    lines::Encoding,
    text::TextLayout,
    unfit::Unfit,
    version::PythonVersion,
};
use crate::interpreted::memory::{Memory, word};

/// What it begins with.
const COOKIE: &[u8; 8] = b"xdebugpy";
/// How much of it is read, bytes.
const LENGTH: u32 = 512;
/// States of threads and interpreters are smaller, bytes.
const LARGEST_STATE: u64 = 4 << 20;
/// What is needed of the state of a thread lies within so many bytes.
const LARGEST_THREAD: u64 = 1024;
/// The kernel side takes so much of a frame, bytes.
const LARGEST_FRAME: u64 = 128;
/// Code objects have what is needed of them within so many bytes.
const LARGEST_CODE: u64 = 256;

/// The words of it, one after another.
struct Words<'a> {
    bytes: &'a [u8],
    next: u32,
    version: &'static str,
}

impl Words<'_> {
    fn skip(&mut self, count: u32) {
        self.next += count * size_of::<u64>() as u32;
    }

    /// The next one: of a word or, where `align` is smaller, of as many bytes, that end before `end`.
    fn offset(&mut self, what: &'static str, align: u64, end: u64) -> Result<u32, Unfit> {
        let offset = word(self.bytes, self.next).ok_or(Unfit::Memory)?;
        self.skip(1);
        let is_sound = offset.is_multiple_of(align) && offset <= end - align;
        is_sound.then_some(offset as u32).ok_or(Unfit::Offset(self.version, what))
    }

    fn state(&mut self, what: &'static str) -> Result<u32, Unfit> {
        self.offset(what, 8, LARGEST_STATE)
    }

    fn code(&mut self, what: &'static str) -> Result<u32, Unfit> {
        self.offset(what, 8, LARGEST_CODE)
    }
}

/// Reads it. `version` is what it has to be of.
pub(super) fn read(version: PythonVersion, exports: &Exports, memory: &mut Memory<'_>) -> Result<Layout, Unfit> {
    let bytes = memory.read(exports.runtime, LENGTH);
    let hex = exports.version.and_then(|address| memory.word(address)).ok_or(Unfit::Memory)?;
    parse(version, hex, &bytes)
}

fn parse(version: PythonVersion, hex: u64, bytes: &[u8]) -> Result<Layout, Unfit> {
    let name = version.name();
    if bytes.get(..COOKIE.len()) != Some(COOKIE) || word(bytes, 8) != Some(hex) {
        return Err(Unfit::Offset(name, "itself"));
    }
    match word(bytes, 16) {
        Some(0) => {}
        Some(_) => return Err(Unfit::FreeThreaded(name)),
        None => return Err(Unfit::Memory),
    }
    let is_14 = version == PythonVersion::V14;
    // After the cookie, the version, whether it is free-threaded; `size` and `finalizing` of the runtime.
    let mut words = Words { bytes, next: 40, version: name };
    let interpreters = words.state("interpreters")?;
    // `size`, `id`.
    words.skip(2);
    let interpreter =
        InterpreterLayout { next: words.state("the next interpreter")?, threads: words.state("threads")? };
    // `gc`, `imports_modules`, `sysdict`, `builtins`, `ceval_gil`, and four of the lock; in 3.14 `threads_main` before them, and
    // `code_object_generation` and `tlbc_generation` after them.
    words.skip(if is_14 { 12 } else { 9 });
    // `size`, `prev`.
    words.skip(2);
    let [next, of, frame, id] = [
        words.offset("the next thread", 8, LARGEST_THREAD)?,
        words.offset("a thread's interpreter", 8, LARGEST_THREAD)?,
        words.offset("a thread's frame", 8, LARGEST_THREAD)?,
        words.offset("a thread's number", 8, LARGEST_THREAD)?,
    ];
    let thread = ThreadLayout { next, interpreter: of, id, frame, frame_in: None };
    // `native_thread_id`, `datastack_chunk`, `status`; `size` of a frame.
    words.skip(4);
    let previous = words.offset("the frame before", 8, LARGEST_FRAME)?;
    let code = words.offset("a frame's code", 8, LARGEST_FRAME)?;
    let instruction = words.offset("a frame's instruction", 8, LARGEST_FRAME)?;
    // `localsplus`.
    words.skip(1);
    let owner = words.offset("a frame's owner", 1, LARGEST_FRAME)?;
    let frame = FrameLayout {
        is_object: false,
        code,
        previous,
        instruction,
        flags: owner & !7,
        entry: EntryMark::Owner { byte: owner & 7 },
        // `_PyStackRef` (`Include/internal/pycore_stackref.h` of 3.14); objects begin at multiples of 16.
        tag: if is_14 { 7 } else { 0 },
    };
    // `stackpointer` and `tlbc_index` of 3.14; `size` of a code object.
    words.skip(if is_14 { 3 } else { 1 });
    let file = words.code("a function's file")?;
    // `name`.
    words.skip(1);
    let (name, lines) = (words.code("a function's name")?, words.code("a function's lines")?);
    let first_line = words.offset("a function's first line", 4, LARGEST_CODE)?;
    // `argcount`, `localsplusnames`, `localspluskinds`.
    words.skip(3);
    let at = words.code("a function's instructions")?;
    let code = CodeLayout {
        first_line,
        file,
        name,
        lines,
        encoding: Encoding::Locations,
        instructions: Instructions::Within { at },
    };
    let text = TextLayout { ascii: 40, other: 56 };
    Ok(Layout { version, interpreters, interpreter, thread, frame, code, text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: u64 = 0x030d_00f0;

    /// What 3.13.0 says of itself on x86-64.
    fn sound() -> Vec<u64> {
        let words = [
            u64::from_le_bytes(*COOKIE),
            HEX,
            0, // runtime
            282_296,
            624,
            632, // interpreter
            194_968,
            7256,
            7264,
            7344,
            7696,
            7560,
            7568,
            7576,
            7024,
            0,
            0,
            0,
            0, // thread
            304,
            0,
            8,
            16,
            72,
            152,
            160,
            240,
            24, // frame
            80,
            8,
            0,
            56,
            72,
            70, // code
            208,
            112,
            120,
            128,
            136,
            68,
            52,
            96,
            104,
            200,
        ];
        words.to_vec()
    }

    fn read(version: PythonVersion, words: &[u64]) -> Result<Layout, Unfit> {
        parse(version, HEX, &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_sound_is_read() {
        let layout = read(PythonVersion::V13, &sound()).expect("a layout");
        let Layout { interpreters, interpreter, thread, frame, code, .. } = layout;
        assert_eq!((interpreters, interpreter.next, interpreter.threads), (632, 7264, 7344));
        assert_eq!((thread.next, thread.interpreter, thread.id, thread.frame), (8, 16, 152, 72));
        assert_eq!((frame.code, frame.previous, frame.instruction, frame.flags), (0, 8, 56, 64));
        assert!(matches!(frame.entry, EntryMark::Owner { byte: 6 }));
        assert_eq!((code.file, code.name, code.lines, code.first_line), (112, 128, 136, 68));
        assert!(matches!(code.instructions, Instructions::Within { at: 200 }));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let why = |index: usize, word| {
            let mut words = sound();
            words[index] = word;
            read(PythonVersion::V13, &words).expect_err("a lie").to_string()
        };
        assert_eq!(why(0, 0), "CPython 3.13 without an offset that makes sense of itself");
        assert_eq!(why(1, 0x030e_00f0), "CPython 3.13 without an offset that makes sense of itself");
        assert_eq!(why(2, 1), "CPython 3.13 without a global interpreter lock is not known");
        assert_eq!(why(29, 121), "CPython 3.13 without an offset that makes sense of the frame before");
        assert_eq!(why(29, u64::MAX - 7), "CPython 3.13 without an offset that makes sense of the frame before");
        assert_eq!(why(33, 128), "CPython 3.13 without an offset that makes sense of a frame's owner");
        assert_eq!(read(PythonVersion::V13, &sound()[..30]).expect_err("too short"), Unfit::Memory);
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(wrong in prop::collection::vec((0_usize..50, any::<u64>(), 0_u32..64), 1..8)) {
            for version in [PythonVersion::V13, PythonVersion::V14] {
                let mut words = sound();
                words.resize(64, 0);
                for &(index, word, shift) in &wrong {
                    words[index] = word >> shift;
                }
                if let Ok(Layout { frame, .. }) = read(version, &words) {
                    prop_assert!([frame.code, frame.previous, frame.instruction, frame.flags].iter().all(|&at| at <= 120));
                }
            }
        }
    }
}
