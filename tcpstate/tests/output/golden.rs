//! Comparison with the files in `tests/golden`.

use std::{env, fs, path::Path};

/// Set this variable to write what tests find into the golden files: `UPDATE_GOLDEN=1 cargo test -p tcpstate`, then look
/// at the difference with git.
const UPDATE: &str = "UPDATE_GOLDEN";

/// Fails unless `actual` is what the golden file holds.
#[track_caller]
pub(crate) fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, actual).expect("golden file is writable");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(actual.lines()).position(|(expected, actual)| expected != actual);
    let line = differs.unwrap_or(expected.lines().count().min(actual.lines().count()));
    assert!(
        expected == actual,
        "{name} differs from line {} on; if that is right, run again with {UPDATE}=1.\nexpected: {:?}\n  actual: {:?}",
        line + 1,
        expected.lines().nth(line),
        actual.lines().nth(line),
    );
}
