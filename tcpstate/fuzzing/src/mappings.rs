//! Any bytes as the text of `/proc/PID/maps`, whose paths anybody chooses.

use tcpstate_broker::process::maps;

/// Reads it.
///
/// # Panics
///
/// When there are more mappings than lines, or one of them makes no sense.
pub fn mappings(text: &[u8]) {
    let lines = text.split(|&byte| byte == b'\n').count();
    let mut mappings = 0;
    for mapping in maps::parse(text) {
        assert!(mapping.start < mapping.end, "{mapping:?}");
        if let Some(file) = mapping.file() {
            assert!(mapping.inode != 0 && file.path.is_absolute(), "{mapping:?}");
        }
        mappings += 1;
    }
    assert!(mappings <= lines, "a path is no mapping");
}
