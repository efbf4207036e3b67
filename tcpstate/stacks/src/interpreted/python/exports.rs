//! What a module that is a `CPython` exports.

use super::{types::Types, unfit::Unfit};

/// Where a module has what is needed of a `CPython`.
#[derive(Clone, Copy, Debug)]
pub(in crate::interpreted) struct Exports {
    pub(super) runtime: u64,
    /// Since 3.11.
    pub(super) version: Option<u64>,
    pub(super) types: Types,
    /// What no function is.
    pub(super) none: u64,
}

impl Exports {
    /// The names of it; the first tells `CPython` from all else.
    pub(in crate::interpreted) const NAMES: [&str; 8] = [
        "_PyRuntime",
        "Py_Version",
        "PyType_Type",
        "PyCode_Type",
        "PyUnicode_Type",
        "PyBytes_Type",
        "PyFrame_Type",
        "_Py_NoneStruct",
    ];

    /// `None`: there is no `CPython`.
    pub(in crate::interpreted) fn new([runtime, version, types @ ..]: [Option<u64>; 8]) -> Option<Result<Self, Unfit>> {
        let runtime = runtime?;
        let [Some(kind), Some(code), Some(text), Some(bytes), Some(frame), Some(none)] = types else {
            return Some(Err(Unfit::Stripped));
        };
        Some(Ok(Self { runtime, version, types: Types { kind, code, text, bytes, frame }, none }))
    }

    /// As a process has it that maps the module so far away.
    pub(in crate::interpreted) fn moved(self, bias: u64) -> Self {
        let Self { runtime, version, types: Types { kind, code, text, bytes, frame }, none } = self;
        let [runtime, kind, code, text, bytes, frame, none] =
            [runtime, kind, code, text, bytes, frame, none].map(|address| address.wrapping_add(bias));
        let version = version.map(|address| address.wrapping_add(bias));
        Self { runtime, version, types: Types { kind, code, text, bytes, frame }, none }
    }
}
