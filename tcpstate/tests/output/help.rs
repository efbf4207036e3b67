//! What the command line says of itself.

use clap::{CommandFactory, Parser};
use tcpstate::cli::{Cli, Command, OutputFormat};
use tcpstate_common::state::TcpState;

use crate::golden::assert_golden;

fn help(arguments: &[&str]) -> String {
    let command = Cli::command().term_width(100);
    let error = command.try_get_matches_from(arguments).expect_err("help ends the program");
    // clap leaves spaces on the lines between the paragraphs of an option.
    error.to_string().lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

fn refusal(arguments: &str) -> String {
    let arguments = ["tcpstate", "trace"].into_iter().chain(arguments.split_whitespace());
    Cli::try_parse_from(arguments).map_or_else(|error| error.to_string(), |cli| format!("accepted: {cli:?}"))
}

#[test]
fn golden() {
    assert_golden("help.txt", &help(&["tcpstate", "--help"]));
    assert_golden("help-trace.txt", &help(&["tcpstate", "trace", "--help"]));
    assert_golden("help-trace-short.txt", &help(&["tcpstate", "trace", "-h"]));
    for command in ["leaks", "run", "record", "report", "states", "probes", "doctor", "completions", "man"] {
        assert_golden(&format!("help-{command}.txt"), &help(&["tcpstate", command, "--help"]));
    }
}

/// What comes after the options has line breaks of its own, to which clap adds others where a line is longer than it allows.
#[test]
fn no_line_is_broken_twice() {
    for command in Cli::command().get_subcommands().chain([&Cli::command()]) {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let long = after.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{}", command.get_name());
    }
}

#[test]
fn clap_finds_no_contradiction() {
    Cli::command().debug_assert();
}

#[test]
fn values_repeat_and_come_with_commas() {
    let arguments =
        "tcpstate trace --pid 1,2 --pid 3 --lport 80,443 --state close-wait,FIN_WAIT2 --state closing -v -o json";
    let cli = Cli::try_parse_from(arguments.split(' ')).expect("valid");
    let Command::Trace(trace) = cli.command else { panic!("another command") };
    assert_eq!(trace.filter.pid, [1, 2, 3]);
    assert_eq!(trace.filter.ends.lport, [80, 443]);
    assert_eq!(trace.state, [TcpState::CloseWait, TcpState::FinWait2, TcpState::Closing]);
    assert_eq!(trace.output, OutputFormat::Json);
    assert_eq!(cli.verbose, 1);
}

#[test]
fn refusals_name_the_option_and_what_would_be_right() {
    for (arguments, words) in [
        ("--pid 0", ["--pid", "1..="]),
        ("--children", ["--pid", "required"]),
        ("--lport 0", ["--lport", "1..=65535"]),
        ("--rport 65536", ["--rport", "1..=65535"]),
        ("--laddr 10.0.0.0/33", ["--laddr", "10.0.0.0/8"]),
        ("--raddr example.org", ["--raddr", "192.0.2.7"]),
        ("-4 -6", ["--ipv4", "--ipv6"]),
        ("--state open", ["--state", "CLOSE_WAIT"]),
        ("--buffer 8MB", ["--buffer", "8M"]),
        ("--duration 30", ["--duration", "30s"]),
        ("--count 0", ["--count", "above zero"]),
        ("--time utc", ["--time", "rfc3339"]),
        ("--output xml", ["--output", "json"]),
    ] {
        let refusal = refusal(arguments);
        assert!(words.iter().all(|word| refusal.contains(word)), "{arguments}: {refusal}");
        assert!(refusal.starts_with("error: "), "{arguments}: {refusal}");
    }
}
