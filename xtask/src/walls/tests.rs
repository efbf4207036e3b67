//! Walls in small crates, some of them broken.

use std::fs;

use super::{imports, names, tree::Tree};

/// A crate of these files, by their paths below its `src`.
fn tree(files: &[(&str, &str)]) -> anyhow::Result<Tree> {
    let directory = tempfile::tempdir()?;
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory.path()))?;
        fs::write(path, text)?;
    }
    Tree::read(directory.path(), &directory.path().join("lib.rs"))
}

fn cycles(files: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
    Ok(imports::cycles(&tree(files)?))
}

#[test]
fn a_cycle_is_told_with_what_each_file_takes() -> anyhow::Result<()> {
    let found = cycles(&[
        ("lib.rs", "mod a; mod b; pub mod c;"),
        ("a.rs", "use crate::b::{B, inner::{self, Inner}};\npub struct A(B, Inner);"),
        ("b.rs", "pub mod inner;\npub struct B;\npub fn f() -> u32 { crate::c::C }"),
        ("b/inner.rs", "pub struct Inner;"),
        ("c.rs", "use super::*;\npub const C: u32 = a::D;"),
    ])?;
    assert_eq!(found, ["a.rs → b.rs: B\nb.rs → c.rs: C\nc.rs → a.rs: D"]);
    Ok(())
}

#[test]
fn a_child_that_uses_its_parent_is_not_to_be_used_by_it() -> anyhow::Result<()> {
    let child = ("a/b.rs", "use super::A;\npub fn f(_: A) {}");
    let declared = cycles(&[("lib.rs", "mod a;"), ("a.rs", "pub mod b;\npub struct A;"), child])?;
    assert_eq!(declared, [""; 0]);
    for uses in ["pub use b::f;", "use self::b::f;", "fn g() { b::f(A) }", "fn g() { assert!(vec![b::f] == []) }"] {
        let parent = format!("mod b;\npub struct A;\n{uses}");
        let found = cycles(&[("lib.rs", "mod a;"), ("a.rs", &parent), child])?;
        assert_eq!(found, ["a.rs → a/b.rs: f\na/b.rs → a.rs: A"], "{uses}");
    }
    Ok(())
}

#[test]
fn what_is_handed_on_belongs_to_who_hands_it_on() -> anyhow::Result<()> {
    let files = |c| {
        [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b;\nmod c;\npub use b::B;"),
            ("a/b.rs", "pub use super::c::C as B;"),
            ("a/c.rs", c),
        ]
    };
    assert_eq!(cycles(&files("pub struct C;"))?, [""; 0]);
    let found = cycles(&files("pub struct C(Option<Box<super::B>>);"))?;
    assert_eq!(found, ["a.rs → a/b.rs: B\na/b.rs → a/c.rs: C\na/c.rs → a.rs: B"]);
    Ok(())
}

#[test]
fn a_module_on_the_way_is_not_needed() -> anyhow::Result<()> {
    let files = |b| {
        [
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", "pub mod c;\npub fn f() { crate::b::g() }"),
            ("a/c.rs", "pub fn h() {}"),
            ("b.rs", b),
        ]
    };
    assert_eq!(cycles(&files("use crate::a;\npub fn g() { a::c::h() }"))?, [""; 0]);
    for b in [
        "use crate::a;\npub fn g() { a::f() }",
        "pub use crate::a;\npub fn g() { a::c::h() }",
        "use super::a as x;\npub fn g() { x::f() }",
    ] {
        assert_eq!(cycles(&files(b))?.len(), 1, "{b}");
    }
    Ok(())
}

#[test]
fn tests_other_crates_and_visibility_are_no_imports() -> anyhow::Result<()> {
    let found = cycles(&[
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "use std::b::X;\nuse ::b::Y;\npub(in crate::b) struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; }",
        ),
        ("b.rs", "use crate::a::A;\npub struct B(A);\nmod inner { use super::B; }"),
    ])?;
    assert_eq!(found, [""; 0]);
    Ok(())
}

#[test]
fn each_knot_is_told_until_none_is_left() -> anyhow::Result<()> {
    let found = cycles(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "use crate::{b::{B, D}, c::C};"),
        ("b.rs", "use crate::a::A;"),
        ("c.rs", "use crate::b::B;"),
    ])?;
    assert_eq!(found, ["a.rs → b.rs: B, D\nb.rs → a.rs: A"]);
    Ok(())
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    assert!(tree(&[("lib.rs", "mod a;")]).is_err());
    assert!(tree(&[("lib.rs", "fn")]).is_err());
}

#[test]
fn a_name_of_two_types_is_told_with_the_files() -> anyhow::Result<()> {
    let one = tree(&[
        ("lib.rs", "pub mod a;\npub struct Twice;\nstruct Own;\npub struct Once;"),
        (
            "a.rs",
            "pub(super) enum Twice {}\nstruct Own;\npub use super::Once;\n#[cfg(test)]\nmod tests { pub struct Once; }",
        ),
    ])?;
    let other = tree(&[("lib.rs", "pub type Other<T> = Option<T>;\nmod inner { pub(crate) trait Once {} }")])?;
    assert_eq!(names::defined_twice([&one]), ["`Twice`: lib.rs, a.rs"]);
    assert_eq!(names::defined_twice([&one, &other]), ["`Once`: lib.rs, lib.rs", "`Twice`: lib.rs, a.rs"]);
    Ok(())
}
