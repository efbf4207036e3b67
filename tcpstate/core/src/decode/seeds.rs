//! Seeds of the fuzz target `decode`: what the kernel side and the kernel write, so that a fuzzer begins behind the first checks.

use std::{env, fs, path::Path};

/// Fails unless the seed of this name is these bytes. `UPDATE_GOLDEN=1` writes it: when the layout of records has changed.
#[track_caller]
pub(super) fn assert_seed(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/decode").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, bytes).expect("the sources can be written to");
    }
    let kept = fs::read(&path).unwrap_or_default();
    assert!(kept == bytes, "the seed `{name}` is of another layout: `UPDATE_GOLDEN=1 cargo test -p tcpstate-core`");
}
