//! What `CPython`'s types say of themselves: sizes, and where their objects have which member. That is for programs in Python, and
//! tells here whether an interpreter is what it says.

use super::{
    layout::{Instructions, Layout},
    lines::Encoding,
    unfit::Unfit,
    version::PythonVersion,
};
use crate::interpreted::memory::{Memory, word};

/// Offsets in `PyTypeObject` (`Include/cpython/object.h`), the same from 3.8 to 3.14.
mod of_type {
    pub(super) const BASIC_SIZE: u32 = 32;
    pub(super) const MEMBERS: u32 = 240;
}
/// How much of a type is read, bytes.
const TYPE: u32 = 256;
/// Bytes of a `PyMemberDef` (`Include/descrobject.h`; `Include/structmember.h` before 3.12).
const MEMBER: usize = 40;
/// Offset in it of the offset in objects.
const MEMBER_OFFSET: u32 = 16;
/// More members are not read. `code` has 17.
const MOST_MEMBERS: usize = 32;
/// The longest name of a member, bytes.
const LONGEST_NAME: u32 = 40;

/// The members of a type's objects.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Bytes of an object, without what differs from one to the next.
    pub(super) size: u64,
    pub(super) offsets: Vec<(Vec<u8>, u64)>,
}

impl Members {
    /// Reads those of the type at an address.
    pub(super) fn read(kind: u64, memory: &mut Memory<'_>) -> Option<Self> {
        let bytes = memory.read(kind, TYPE);
        let (size, table) = (word(&bytes, of_type::BASIC_SIZE)?, word(&bytes, of_type::MEMBERS)?);
        let table = memory.read(table, (MOST_MEMBERS * MEMBER) as u32);
        let mut offsets = Vec::new();
        for member in table.chunks_exact(MEMBER) {
            let (name, offset) = (word(member, 0)?, word(member, MEMBER_OFFSET)?);
            if name == 0 {
                break;
            }
            offsets.push((memory.text(name, LONGEST_NAME)?, offset));
        }
        Some(Self { size, offsets })
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.offsets.iter().find(|(known, _)| known == name.as_bytes()).map(|&(_, offset)| offset)
    }
}

/// Which of the versions it is that do not say so.
pub(super) fn version(code: &Members, frame: &Members) -> Result<PythonVersion, Unfit> {
    let is_8 =
        code.get("co_posonlyargcount").is_some() && frame.get("f_back").is_some() && frame.get("f_code").is_some();
    match (is_8, frame.get("f_lasti"), code.get("co_lnotab")) {
        (true, Some(_), Some(_)) => Ok(PythonVersion::V8),
        (true, None, None) => Ok(PythonVersion::V10),
        _ => Err(Unfit::Unversioned),
    }
}

/// Whether a layout agrees with what the types say.
pub(super) fn check(layout: &Layout, code: &Members, frame: &Members) -> Result<(), Unfit> {
    let version = layout.version.name();
    let is = |members: &Members, name, offset: u32| members.get(name) == Some(u64::from(offset));
    let (name, lines) = match layout.code.encoding {
        Encoding::Steps => ("co_name", "co_lnotab"),
        Encoding::Ranges => ("co_name", "co_linetable"),
        Encoding::Locations => ("co_qualname", "co_linetable"),
    };
    let instructions = match layout.code.instructions {
        Instructions::Apart { at, .. } => is(code, "co_code", at),
        Instructions::Within { at } => code.size == u64::from(at),
    };
    // In the first ones of 3.10 the table is none of the members, so it is what comes after the last of them.
    let lines = is(code, lines, layout.code.lines)
        || layout.version == PythonVersion::V10
            && code.get(lines).is_none()
            && layout.code.lines == layout.code.name + 8;
    let is_code = instructions
        && lines
        && is(code, name, layout.code.name)
        && is(code, "co_filename", layout.code.file)
        && is(code, "co_firstlineno", layout.code.first_line);
    if !is_code {
        return Err(Unfit::Type(version, "code"));
    }
    let is_linked = is(frame, "f_back", layout.frame.previous) && is(frame, "f_code", layout.frame.code);
    let is_frame = match layout.version {
        PythonVersion::V8 => is_linked && is(frame, "f_lasti", layout.frame.instruction),
        // What follows these two bytes is a pointer, and then the number of the instruction.
        PythonVersion::V10 => is_linked && is(frame, "f_trace_opcodes", layout.frame.instruction - 11),
        // Frames are no objects.
        PythonVersion::V11 | PythonVersion::V12 | PythonVersion::V13 | PythonVersion::V14 => true,
    };
    if is_frame { Ok(()) } else { Err(Unfit::Type(version, "frame")) }
}
