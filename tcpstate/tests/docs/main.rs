//! What documents show of `tcpstate`, against its own command line. `tests/privileged/docs.rs` runs it.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _, Parser as _};
use tcpstate::cli::Cli;
use tcpstate_core::aggregate::verdict::Verdict;
use tcpstate_documents::{DOCUMENTS, Document, Invocation, commands, invocations};

fn document(path: &str) -> &'static Document {
    DOCUMENTS.iter().find(|document| document.path == path).unwrap_or_else(|| panic!("no `{path}`"))
}

/// What `tcpstate` says to these arguments; a variable of the shell stands for a number.
fn refusal(arguments: &[String]) -> Option<String> {
    let arguments = arguments.iter().map(|word| if word.starts_with('$') { "4242" } else { word });
    Cli::try_parse_from(["tcpstate"].into_iter().chain(arguments)).err().map(|error| error.to_string())
}

#[test]
fn the_command_line_takes_every_command() {
    let mut taken = BTreeSet::new();
    for command in commands() {
        for invocation in command.invocations() {
            let Invocation::Tcpstate(arguments) = invocation else { continue };
            let refusal = refusal(&arguments);
            assert_eq!(refusal, None, "{}:{}: `{}`", command.document, command.line, command.text);
            taken.extend(arguments.first().cloned());
        }
    }
    for document in DOCUMENTS {
        for script in document.scripts() {
            for invocation in script.text.lines().flat_map(invocations) {
                let Invocation::Tcpstate(arguments) = invocation else { continue };
                assert_eq!(refusal(&arguments), None, "{}:{}", document.path, script.line);
            }
        }
    }
    assert!(taken.len() >= 8, "hardly a command was found: {taken:?}");
}

/// Amid prose a command may be one of several (`a|b`) or have names for its values: those are not parsed, but the command and
/// its options have to exist.
#[test]
fn prose_names_commands_and_options_that_there_are() {
    let program = Cli::command();
    for document in DOCUMENTS {
        for code in document.inline_code() {
            let mut words = code.split_whitespace();
            let (Some("tcpstate"), Some(name)) = (words.next(), words.next()) else { continue };
            if name.starts_with('-') {
                continue;
            }
            let command = program.find_subcommand(name).or((name == "help").then_some(&program));
            let command = command.unwrap_or_else(|| panic!("{}: `{code}`: no command `{name}`", document.path));
            for option in words.take_while(|&word| word != "--").filter_map(|word| word.strip_prefix("--")) {
                assert!(has_option(command, option), "{}: `{code}`: no option `--{option}`", document.path);
            }
        }
    }
}

fn has_option(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(name))
}

/// Those of the help are documents, too; some of them are continued by what is no part of them.
#[test]
fn the_command_line_takes_the_examples_of_its_help() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().take_while(|line| !line.is_empty()).skip(1);
        let mut taken = 0;
        for line in examples {
            // Two spaces separate it from what it does.
            let example = line.trim_start().split("  ").next().unwrap_or_default();
            for invocation in invocations(&example.replace("source <(", "").replace(')', "")) {
                let Invocation::Tcpstate(arguments) = invocation else { continue };
                assert_eq!(refusal(&arguments), None, "{}: `{example}`", command.get_name());
                taken += 1;
            }
        }
        assert!(taken > 0, "{} has no example", command.get_name());
    }
}

#[test]
fn the_readme_has_every_command() {
    let readme = document("README.md");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let row = [format!("| [`{name}`]("), format!("| `{name} "), format!("| `{name}` ")];
        assert!(row.iter().any(|start| readme.text.contains(start)), "`{name}` is not in the table of commands");
    }
}

/// JSON that is shown is what `trace` writes.
#[test]
fn json_is_as_its_schema_says() {
    let schema = serde_json::from_str(include_str!("../../schema/trace-v1.schema.json")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let blocks = document("docs/trace.md").blocks().into_iter().filter(|block| block.language == "json");
    let lines: Vec<_> = blocks.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let value = serde_json::from_str(&line).expect("JSON");
        assert!(validator.is_valid(&value), "{line}");
    }
}

#[test]
fn every_verdict_is_explained() {
    let headings = document("docs/verdicts.md").headings();
    for verdict in Verdict::ALL {
        assert!(headings.iter().any(|heading| heading.text == verdict.name()), "`{}`", verdict.name());
    }
}
