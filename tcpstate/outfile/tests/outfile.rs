//! What stands at a name, and what becomes of it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _, symlink},
            net::UnixListener,
        },
    },
    path::Path,
    process::Command,
    thread,
};

use tcpstate_outfile::{Directory, NewFile, OutputFile, write};
use tempfile::{TempDir, tempdir};

fn directory() -> TempDir {
    tempdir().expect("a directory")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").permissions().mode() & 0o7777
}

fn names(path: &Path) -> Vec<OsString> {
    let mut names: Vec<_> =
        fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    names
}

fn refused(path: &Path) -> String {
    write(path, b"x").expect_err("refused").to_string()
}

#[test]
fn a_file_replaces_another_and_keeps_nothing_of_it() {
    let directory = directory();
    let (path, other) = (directory.path().join("report"), directory.path().join("other"));
    fs::write(&path, "old").expect("disk");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("ours");
    fs::hard_link(&path, &other).expect("a link");
    let mut reading = File::open(&path).expect("there");
    write(&path, b"new").expect("a file");
    assert_eq!(fs::read(&path).expect("there"), b"new");
    assert_eq!(mode(&path) & 0o133, 0, "{:o}", mode(&path));
    assert_eq!(fs::read(&other).expect("there"), b"old", "the other name of the former file");
    let mut text = String::new();
    reading.read_to_string(&mut text).expect("open");
    assert_eq!(text, "old");
    assert_eq!(names(directory.path()), ["other", "report"]);
}

#[test]
fn what_is_given_up_changes_nothing() {
    let directory = directory();
    let path = directory.path().join("report");
    for old in [None, Some("old")] {
        if let Some(old) = old {
            fs::write(&path, old).expect("disk");
        }
        let OutputFile::New(mut new) = OutputFile::begin(&path).expect("a file") else { panic!("a stream") };
        new.file().write_all(b"half").expect("disk");
        drop(new);
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), old);
        assert_eq!(names(directory.path()).len(), usize::from(old.is_some()));
    }
}

#[test]
fn a_name_that_is_taken_is_left() {
    let directory = directory();
    let path = directory.path().join("a");
    let (of, name) = Directory::of(&path).expect("a directory");
    let mut new = NewFile::create_private(of, name).expect("a file");
    fs::write(&path, "theirs").expect("disk");
    assert_eq!(new.publish().expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
    drop(new);
    assert_eq!(fs::read(&path).expect("there"), b"theirs");
    assert_eq!(names(directory.path()), ["a"]);
}

#[test]
fn links_are_named_and_not_followed() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("target"), "precious").expect("disk");
    symlink("target", at("link")).expect("a link");
    symlink("nothing", at("dangling")).expect("a link");
    for link in [at("link"), at("dangling")] {
        let expected =
            format!("`{}` is a symbolic link and is not followed: remove it, or name its target", link.display());
        assert_eq!(refused(&link), expected);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    }
    assert_eq!(fs::read(at("target")).expect("there"), b"precious");
    assert_eq!(names(directory.path()), ["dangling", "link", "target"]);
    // One that comes in between is replaced, its target left.
    let output = OutputFile::begin(&at("late")).expect("a file");
    symlink("target", at("late")).expect("a link");
    output.write(b"report").expect("a file");
    assert_eq!(fs::read(at("target")).expect("there"), b"precious");
    assert_eq!(fs::read(at("late")).expect("there"), b"report");
    assert_eq!(names(directory.path()), ["dangling", "late", "link", "target"]);
}

#[test]
fn the_way_may_have_links_of_ours() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("real/deep")).expect("disk");
    symlink("real/../real", at("relative")).expect("a link");
    symlink(at("relative").join("deep"), at("absolute")).expect("a link");
    symlink("round", at("round")).expect("a link");
    for (way, name) in [("relative/deep", "a"), ("absolute", "b"), ("absolute/../deep/.", "c"), ("absolute//", "d")] {
        write(&at(way).join(name), b"x").expect(way);
        assert!(at("real/deep").join(name).exists(), "{way}");
    }
    assert!(refused(&at("round/a")).contains("os error"));
    assert!(refused(&at("real/deep/a/b")).contains("os error"), "through a file");
    // What is open, and not what the link says.
    let open = File::open(at("real")).expect("there");
    write(&Path::new("/proc/self/fd").join(open.as_raw_fd().to_string()).join("e"), b"x").expect("a file");
    assert!(at("real/e").exists());
}

#[test]
fn what_is_no_file_is_named() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("directory")).expect("disk");
    let _socket = UnixListener::bind(at("socket")).expect("a socket");
    for (path, words) in [
        (at("directory"), "is a directory: name a file in it"),
        (at("directory/"), "is a directory: name a file in it"),
        (at(".."), "is a directory: name a file in it"),
        (at("socket"), "is a socket, which is not written to"),
        (at("missing/a"), "No such file"),
        ("".into(), "not found"),
    ] {
        let error = refused(&path);
        assert!(error.contains(words), "{}: {error}", path.display());
    }
}

#[test]
fn pipes_and_devices_are_written_to() {
    let directory = directory();
    let path = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let reader = thread::spawn({
        let path = path.clone();
        move || fs::read(path).expect("the other end")
    });
    write(&path, b"through").expect("our end");
    assert_eq!(reader.join().expect("read"), b"through");
    assert!(fs::symlink_metadata(&path).expect("there").file_type().is_fifo());
    fs::hard_link(&path, directory.path().join("second")).expect("a link");
    assert!(refused(&path).contains("is a pipe with several names, which is not written to"));
    write(Path::new("/dev/null"), b"x").expect("a device");
    let full = write(Path::new("/dev/full"), b"x").expect_err("no room");
    assert!(format!("{full:?}").contains("StorageFull"), "{full:?}");
}
