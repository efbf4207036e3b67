//! Every command of the documents, run as it stands there, while a program leaks. What is the reader's own is replaced, such as a
//! pid by that of the program; what would go on for hours is ended by Ctrl-C.

mod desk;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use libtest_mimic::Trial;
use tcpstate::cli::{Cli, Command as Task, Show};
use tcpstate_documents::{Coverage, DOCUMENTS, Document, Invocation, Shown, invocations};

use crate::support::run::trial;
use desk::{Desk, Ended};

pub(crate) fn trials() -> Vec<Trial> {
    let documents = DOCUMENTS.iter().filter(|document| runnable(document).next().is_some());
    let commands = documents.map(|document| {
        let name = document.path.rsplit('/').next().unwrap_or(document.path).trim_end_matches(".md");
        trial(format!("docs::commands::{name}"), || commands(document))
    });
    commands.chain([trial("docs::script_fails_where_sockets_are_left", script)]).collect()
}

fn runnable(document: &Document) -> impl Iterator<Item = Shown> {
    document.commands().into_iter().filter(|command| command.coverage() == Some(Coverage::Run))
}

/// In their order: a report wants the recording of before.
fn commands(document: &Document) -> Result<()> {
    let mut desk = Desk::new()?;
    if let Some(block) = document.blocks().iter().find(|block| block.language == "toml") {
        desk.write("tcpstate-allow.toml", &block.text)?;
    }
    for command in runnable(document) {
        one(&mut desk, &command.text).with_context(|| format!("line {}: `{}`", command.line, command.text))?;
    }
    Ok(())
}

fn one(desk: &mut Desk, text: &str) -> Result<()> {
    let line = desk.fitted(text)?;
    let task = task(&line)?;
    let goes_on = match &task {
        Some(Task::Trace(_) | Task::Record(_)) => true,
        Some(Task::Leaks(args)) => !args.once,
        Some(Task::States(args)) => args.watch.is_some(),
        _ => false,
    };
    let traces = !matches!(task, Some(Task::States(_)));
    let ended = if goes_on { desk.run_for_a_while(&line, traces)? } else { desk.run(&line)? };
    let code = if matches!(task, Some(Task::Run(_))) { 99 } else { 0 };
    ensure!(ended.code == Some(code), "exit code {:?} instead of {code}: {ended:?}", ended.code);
    ensure!(!ended.stderr.contains("error:"), "{ended:?}");
    let report = if matches!(task, Some(Task::Run(_))) { &ended.stderr } else { &ended.written };
    ensure!(!report.is_empty(), "it wrote nothing: {ended:?}");
    let word = task.as_ref().and_then(|task| expected(task, desk.program()));
    ensure!(word.is_none_or(|word| report.contains(word)), "{word:?} is not in it: {ended:?}");
    Ok(())
}

/// What `tcpstate` is asked for in a command line, if it is in it.
fn task(line: &str) -> Result<Option<Task>> {
    for invocation in invocations(line) {
        if let Invocation::Tcpstate(arguments) = invocation {
            let cli = Cli::try_parse_from(["tcpstate".to_owned()].into_iter().chain(arguments))?;
            return Ok(Some(cli.command));
        }
    }
    Ok(None)
}

/// A word that has to be in what it writes: of a program that leaks its name, unless a filter of the document leaves it out.
fn expected<'a>(task: &Task, program: &'a str) -> Option<&'a str> {
    match task {
        Task::Leaks(args) if args.age.older_than.as_secs() <= 1 => Some(program),
        Task::Trace(args) if !args.filter.pid.is_empty() || !args.state.is_empty() => Some("CLOSE_WAIT"),
        Task::Report(args) => Some(match args.show {
            Show::Leaks => program,
            Show::Trace | Show::States => "CLOSE_WAIT",
            Show::Summary => "TIME IN",
        }),
        Task::States(args) if args.filter.netns.is_none() => Some("CLOSE_WAIT"),
        Task::Doctor(args) if args.netns.is_none() => Some(program),
        Task::Probes(_) => Some("inet_sock_set_state"),
        Task::Run(_) => Some("2 sockets leaked"),
        _ => None,
    }
}

/// The script that a workflow runs fails for the server that leaks, and only for that.
fn script() -> Result<()> {
    let scripts = DOCUMENTS.iter().flat_map(Document::scripts).collect::<Vec<_>>();
    let [script] = &scripts[..] else { anyhow::bail!("not one script: {scripts:?}") };
    let desk = Desk::new()?;
    desk.write("sockets.sh", &script.text)?;
    // It says its port in a file, and answers what the suite asks by way of an upstream server.
    desk.script("server", &format!("exec {} > port", desk.gateway()?.join(" ")))?;
    let suite = "until grep -q PORT port; do sleep 0.1; done\n\
                 exec python3 -c 'import socket, sys\n\
                 peer = socket.create_connection((\"127.0.0.1\", int(sys.argv[1])))\n\
                 peer.sendall(b\"request\"); peer.recv(100)' \"$(sed s/PORT.//  port)\"";
    desk.script("suite", suite)?;
    let leaking: Ended = desk.run("sh sockets.sh .")?;
    ensure!(leaking.code == Some(1), "{leaking:?}");
    ensure!(leaking.stderr.contains(r#""close_wait":1"#), "{leaking:?}");
    desk.script("server", "exec sleep 60")?;
    desk.script("suite", "true")?;
    let fixed = desk.run("sh sockets.sh .")?;
    ensure!(fixed.code == Some(0), "{fixed:?}");
    desk.script("suite", "exit 3")?;
    let failed = desk.run("sh sockets.sh .")?;
    ensure!(failed.code == Some(3), "{failed:?}");
    Ok(())
}
