//! The program under test.

use std::{env, ffi::OsString, path::PathBuf};

/// Says which program the tests of hostile programs run in place of the one that was built with them: a static release, or one
/// that is linked dynamically.
const OTHER: &str = "TCPSTATE_UNDER_TEST";

/// Where it is.
pub(crate) fn tcpstate() -> PathBuf {
    env::var_os(OTHER).unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_tcpstate"))).into()
}
