//! Which `CPython` a process has, and where that has what.

use super::{
    exports::Exports,
    known,
    layout::Layout,
    members::{self, Members},
    offsets,
    unfit::Unfit,
    version::PythonVersion,
};
use crate::interpreted::memory::Memory;

/// Finds out which version a process has. What its own types say of their members has to agree.
pub(super) fn layout(exports: &Exports, memory: &mut Memory<'_>) -> Result<Layout, Unfit> {
    let types = exports.types;
    let version = match exports.version {
        Some(address) => Some(PythonVersion::of(memory.word(address).ok_or(Unfit::Memory)?)?),
        None => None,
    };
    let shown = version.map_or("CPython before 3.11", PythonVersion::name);
    types.check(shown, memory)?;
    let (code, frame) = (Members::read(types.code, memory), Members::read(types.frame, memory));
    let (code, frame) = (code.ok_or(Unfit::Memory)?, frame.ok_or(Unfit::Memory)?);
    let version = match version {
        Some(version) => version,
        None => members::version(&code, &frame)?,
    };
    let layout = match known::layout(version) {
        Some(layout) => layout,
        None => offsets::read(version, exports, memory)?,
    };
    members::check(&layout, &code, &frame)?;
    Ok(layout)
}
