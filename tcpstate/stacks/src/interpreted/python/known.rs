//! Where the versions of `CPython` have what that do not say so themselves.

use super::{
    layout::{CodeLayout, EntryMark, FrameLayout, Instructions, InterpreterLayout, Layout, ThreadLayout},
    lines::Encoding,
    text::TextLayout,
    version::PythonVersion,
};

/// The layouts of 3.8 to 3.12: of the headers `Include/internal/pycore_{runtime,pystate,interp,frame}.h` and
/// `Include/cpython/{pystate,code,frameobject,unicodeobject}.h` of each.
pub(super) fn layout(version: PythonVersion) -> Option<Layout> {
    let (old_text, text) = (TextLayout { ascii: 48, other: 72 }, TextLayout { ascii: 40, other: 56 });
    let until_10 = |frame_instruction, unit, encoding| Layout {
        version,
        interpreters: 32,
        interpreter: InterpreterLayout { next: 0, threads: 8 },
        thread: ThreadLayout { next: 8, interpreter: 16, id: 176, frame: 24, frame_in: None },
        frame: FrameLayout {
            is_object: true,
            code: 32,
            previous: 24,
            instruction: frame_instruction,
            flags: frame_instruction,
            entry: EntryMark::Always,
            tag: 0,
        },
        code: CodeLayout {
            first_line: 40,
            file: 104,
            name: 112,
            lines: 120,
            encoding,
            instructions: Instructions::Apart { at: 48, unit },
        },
        text: old_text,
    };
    match version {
        PythonVersion::V8 => Some(until_10(104, 1, Encoding::Steps)),
        PythonVersion::V10 => Some(until_10(96, 2, Encoding::Ranges)),
        PythonVersion::V11 => Some(Layout {
            version,
            interpreters: 40,
            interpreter: InterpreterLayout { next: 0, threads: 16 },
            thread: ThreadLayout { next: 8, interpreter: 16, id: 152, frame: 56, frame_in: Some(8) },
            frame: FrameLayout {
                is_object: false,
                code: 32,
                previous: 48,
                instruction: 56,
                flags: 64,
                entry: EntryMark::Flag { byte: 4 },
                tag: 0,
            },
            code: CodeLayout {
                first_line: 72,
                file: 112,
                name: 128,
                lines: 136,
                encoding: Encoding::Locations,
                instructions: Instructions::Within { at: 184 },
            },
            text: old_text,
        }),
        PythonVersion::V12 => Some(Layout {
            version,
            interpreters: 40,
            interpreter: InterpreterLayout { next: 0, threads: 72 },
            thread: ThreadLayout { next: 8, interpreter: 16, id: 136, frame: 56, frame_in: Some(0) },
            frame: FrameLayout {
                is_object: false,
                code: 0,
                previous: 8,
                instruction: 56,
                flags: 64,
                entry: EntryMark::Owner { byte: 6 },
                tag: 0,
            },
            code: CodeLayout {
                first_line: 68,
                file: 112,
                name: 128,
                lines: 136,
                encoding: Encoding::Locations,
                instructions: Instructions::Within { at: 192 },
            },
            text,
        }),
        PythonVersion::V13 | PythonVersion::V14 => None,
    }
}
