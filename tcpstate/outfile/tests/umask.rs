//! The modes of files. Alone in its process: the umask is everybody's there.

use std::{ffi::OsStr, fs, os::unix::fs::PermissionsExt as _, path::Path};

use rustix::{fs::Mode, process::umask};
use tcpstate_outfile::{Directory, NewFile, There, write};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").permissions().mode() & 0o7777
}

#[test]
fn the_mode_is_what_was_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    for (mask, expected) in [(0o000, 0o644), (0o022, 0o644), (0o077, 0o600), (0o777, 0)] {
        let at = |name: &str| directory.path().join(format!("{mask:o}-{name}"));
        let (private, readable) = (at("private"), at("readable"));
        let (of, name) = Directory::of(&private).expect("a directory");
        umask(Mode::from_raw_mode(mask));
        let mut new = NewFile::create_private(of.clone(), name).expect("a file");
        new.publish().expect("free");
        write(&readable, b"x").expect("a file");
        let name = private.file_name().map(OsStr::to_owned).expect("a name");
        let There::Regular(found) = of.look(&name).expect("there") else { panic!("no file") };
        assert!(found.ours && found.id == new.id().expect("open"));
        assert_eq!((mode(&private), mode(&readable)), (0o600, expected), "{mask:o}");
    }
}
