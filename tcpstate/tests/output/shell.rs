//! Completions, manual pages and exit codes.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tcpstate::cli::EXIT_CODES;

use crate::golden::assert_golden;

fn tcpstate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tcpstate")).args(arguments).output().expect("it runs")
}

fn stdout(arguments: &[&str]) -> String {
    let output = tcpstate(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text is UTF-8")
}

fn versionless(page: &str) -> String {
    page.replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn golden() {
    for shell in ["bash", "zsh", "fish"] {
        assert_golden(&format!("completions.{shell}"), &stdout(&["completions", shell]));
    }
    assert_golden("tcpstate.1", &versionless(&stdout(&["man"])));
    assert_golden("tcpstate-states.1", &versionless(&stdout(&["man", "states"])));
}

/// What bash itself makes of the script when a user presses tab.
#[test]
fn bash_completes() {
    let script = r#"
        source <("$1" completions bash)
        shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _tcpstate tcpstate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let complete = |words: &[&str]| {
        let output = Command::new("bash")
            .args(["--norc", "-c", script, "bash", env!("CARGO_BIN_EXE_tcpstate"), "tcpstate"])
            .args(words)
            .output()
            .expect("bash runs");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text is UTF-8").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["st"]), ["states"]);
    assert_eq!(complete(&["states", "--by", ""]), ["process", "netns", "cgroup", "lport", "remote"]);
    assert_eq!(complete(&["leaks", "--older"]), ["--older-than"]);
    assert!(complete(&["completions", ""]).contains(&"fish".to_owned()));
}

#[test]
fn every_command_has_a_page_with_its_options_and_an_example() {
    let directory = tempfile::tempdir().expect("a directory");
    stdout(&["man", "--dir", directory.path().to_str().expect("text")]);
    let mut pages: Vec<_> = fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    pages.sort();
    let help = stdout(&["--help"]);
    let commands = help.split("Commands:").nth(1).and_then(|text| text.split("\n\n").next()).expect("commands");
    // What does not fit a line goes on further to the right.
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let commands = commands.filter_map(|line| line.split_whitespace().next()).filter(|&name| name != "help");
    let mut expected: Vec<_> = commands.map(|name| format!("tcpstate-{name}.1")).collect();
    assert!(expected.len() >= 5, "{expected:?}");
    expected.push("tcpstate.1".to_owned());
    expected.sort();
    assert_eq!(pages, expected);
    for page in pages {
        let text = fs::read_to_string(directory.path().join(&page)).expect("readable");
        for section in [".SH OPTIONS", ".SH EXAMPLES", ".SH \"EXIT STATUS\""] {
            assert!(text.contains(section), "{section} of {page}");
        }
        assert!(text.contains(concat!("\"tcpstate ", env!("CARGO_PKG_VERSION"), "\"")), "the footer of {page}");
        if let Some(command) = page.strip_prefix("tcpstate-").and_then(|name| name.strip_suffix(".1")) {
            assert_eq!(versionless(&text), versionless(&stdout(&["man", command])));
            assert!(stdout(&[command, "--help"]).contains("Examples:"), "{command}");
        }
    }
}

#[test]
fn exit_codes_are_in_one_table_and_true() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("readable");
    let help = stdout(&["--help"]);
    for (code, meaning) in EXIT_CODES {
        assert!(readme.contains(&format!("| {code} | {meaning} |")), "{code} in README.md");
        assert!(help.contains(&format!("  {code}  {meaning}")), "{code} in --help");
    }
    for (arguments, code) in [
        (&["states", "-o", "json"][..], 0),
        (&["states", "--netns", "/dev/null"], 1),
        (&["man", "--dir", "/nonexistent"], 1),
        (&["states", "--pid", "4194304"], 1),
        (&["states", "--by", "colour"], 2),
        (&["nothing"], 2),
        (&["man", "nothing"], 2),
        (&["trace", "--buffer", "3G"], 2),
        (&["trace", "--state", "time-wait"], 2),
        (&["trace", "--comm", "longer-than-a-name"], 2),
        (&["leaks", "--stack-size", "0"], 2),
        (&["leaks", "--weight", "seconds"], 2),
        (&["leaks", "-4", "--laddr", "::1"], 2),
        (&["record", "-o", "/nonexistent/file", "--interval", "1ms"], 2),
        (&["states", "--watch", "1ms"], 2),
        (&["report", "/nonexistent/file", "--by", "process"], 2),
        (&["report", "/nonexistent/file"], 1),
        (&["run"], 125),
        (&["-v", "run", "--no-such-option", "--", "true"], 125),
        (&["run", "--no-such-option"], 125),
        (&["run", "--buffer", "3G", "--", "true"], 125),
        (&["run", "--allow", "/nonexistent/file", "--", "true"], 125),
        (&["run", "--help"], 0),
        (&[], 2),
    ] {
        let output = tcpstate(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{arguments:?}");
    }
}

#[test]
fn refusals_say_what_there_is() {
    let said = |arguments: &[&str]| String::from_utf8(tcpstate(arguments).stderr).expect("text is UTF-8");
    assert!(said(&["man", "nothing"]).starts_with("error: no command `nothing`: there are trace, leaks, "));
    assert!(said(&["completions", "tcsh"]).contains("bash, elvish, fish, powershell, zsh"));
    assert!(said(&["man", "--dir", "/nonexistent"]).starts_with("error: failed to write `/nonexistent/tcpstate.1`"));
}

/// "No space left on device" alone could be any file's.
#[test]
fn a_full_disk_is_told_of_by_the_name_of_what_could_not_be_written() {
    for arguments in
        [&["states"][..], &["states", "-o", "json", "--watch", "100ms"], &["man"], &["completions", "bash"]]
    {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
        let output = command.args(arguments).stdout(full).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text is UTF-8");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let expected = "error: failed to write to standard output: No space left on device (os error 28)\n";
        assert!(said.ends_with(expected), "{arguments:?}: {said}");
    }
}
