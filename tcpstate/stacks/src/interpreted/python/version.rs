//! The versions of `CPython`.

use super::unfit::Unfit;

/// The versions whose layout is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PythonVersion {
    /// 3.8 and 3.9, which differ in nothing that matters here.
    V8,
    V10,
    V11,
    V12,
    V13,
    V14,
}

impl PythonVersion {
    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V8 => "CPython 3.8 or 3.9",
            Self::V10 => "CPython 3.10",
            Self::V11 => "CPython 3.11",
            Self::V12 => "CPython 3.12",
            Self::V13 => "CPython 3.13",
            Self::V14 => "CPython 3.14",
        }
    }

    /// By `Py_Version` (`Include/patchlevel.h`: `PY_VERSION_HEX`).
    pub(super) fn of(hex: u64) -> Result<Self, Unfit> {
        let [_, _, minor, major] = u32::try_from(hex).map_err(|_| Unfit::Unversioned)?.to_le_bytes();
        match (major, minor) {
            (3, 11) => Ok(Self::V11),
            (3, 12) => Ok(Self::V12),
            (3, 13) => Ok(Self::V13),
            (3, 14) => Ok(Self::V14),
            _ => Err(Unfit::Unknown(major, minor)),
        }
    }
}
