//! Test suites of three languages, and a program in another: with the bug they leak and the run fails, without it passes.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::command::{Ended, Run};
use crate::{
    scenarios::{compile, program::installed},
    support::{launch::Launch, run::trial},
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("runs::suites::pytest", pytest),
        trial("runs::suites::rust", rust),
        trial("runs::suites::node", node),
        trial("runs::suites::perl", perl),
    ]
}

fn both(command: &[OsString]) -> Result<[Ended; 2]> {
    let run = |environment: &[(&str, &str)]| Run::start(&Launch::default(), &[], command, environment, "")?.end();
    let (leaking, fixed) = (run(&[("LEAK", "1")])?, run(&[])?);
    fixed.check(0, 0)?;
    ensure!(fixed.junit.contains("no socket leaked"), "{}", fixed.junit);
    Ok([leaking, fixed])
}

fn pytest() -> Result<()> {
    let tests = compile::source("run/test_client.py").into_os_string();
    let command = ["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"].map(OsString::from);
    let [leaking, fixed] = both(&[&command[..], &[tests]].concat())?;
    for ended in [&leaking, &fixed] {
        ensure!(ended.stdout.contains("2 passed"), "{}", ended.stdout);
    }
    leaking.check(99, 2)?;
    // Python gives up its objects before it exits, and their sockets with them.
    leaking.check_all("/fate", "closed-at-exit")?;
    leaking.check_all("/verdict", "eof-read")?;
    leaking.check_stack("/shut_down/0/stack", "Py_FinalizeEx")?;
    leaking.check_stack("/opened/stack", "connect")
}

/// The tests in Rust, which are a program.
pub(super) fn rust_tests() -> Result<PathBuf> {
    compile::rust_tests("run/client.rs")
}

fn rust() -> Result<()> {
    let [leaking, fixed] = both(&[rust_tests()?.into_os_string()])?;
    for ended in [&leaking, &fixed] {
        ensure!(ended.stdout.contains("1 passed"), "{}", ended.stdout);
    }
    leaking.check(99, 1)?;
    leaking.check_all("/fate", "closed-by-exit")?;
    leaking.check_all("/verdict", "eof-read")
}

fn node() -> Result<()> {
    let tests = compile::source("run/client.test.js").into_os_string();
    let [leaking, fixed] = both(&[installed("node")?.into_os_string(), "--test".into(), tests])?;
    for ended in [&leaking, &fixed] {
        ensure!(ended.stdout.contains("# pass 1"), "{}", ended.stdout);
    }
    leaking.check(99, 1)?;
    leaking.check_all("/verdict", "eof-read")?;
    leaking.check_all("/process/comm", "node")
}

fn perl() -> Result<()> {
    let client = compile::source("run/client.pl").into_os_string();
    let [leaking, _] = both(&[installed("perl")?.into_os_string(), client])?;
    leaking.check(99, 1)?;
    leaking.check_all("/fate", "closed-at-exit")?;
    leaking.check_all("/verdict", "eof-read")?;
    leaking.check_stack("/shut_down/0/stack", "perl_destruct")
}
