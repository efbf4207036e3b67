//! What holds of all documents, whatever they say.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tcpstate_documents::{DOCUMENTS, Document, Invocation, UNRUN, commands};

/// A page that is read to its end.
const README_LINES: usize = 250;
/// Languages of blocks. Commands stand in the first three; in another one nothing would find them.
const LANGUAGES: [&str; 6] = ["console", "sh", "yaml", "toml", "json", "text"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("it is there")
}

/// Documents below a directory, by their paths in the repository. Those of hidden directories are for the forge alone.
fn documents_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            documents_below(&path, found);
        } else if name.ends_with(".md") {
            let path = path.strip_prefix(repository()).expect("below").to_string_lossy().into_owned();
            found.insert(path);
        }
    }
}

#[test]
fn every_document_is_looked_at() {
    let mut found = BTreeSet::new();
    documents_below(&repository(), &mut found);
    let known: BTreeSet<_> = DOCUMENTS.iter().map(|document| document.path.to_owned()).collect();
    assert_eq!(found, known, "`DOCUMENTS` has all there are");
}

#[test]
fn the_readme_is_one_page() {
    let readme = DOCUMENTS.iter().find(|document| document.path == "README.md").expect("a README");
    let lines = readme.text.lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines");
}

#[test]
fn blocks_say_what_they_are() {
    for document in DOCUMENTS {
        for block in document.blocks() {
            let place = format!("{}:{}", document.path, block.line);
            assert!(LANGUAGES.contains(&&*block.language), "{place}: a block of `{}`", block.language);
            assert!(block.language != "text" || !block.text.contains("$ "), "{place}: a command that nothing looks at");
        }
    }
}

#[test]
fn every_command_is_run_or_listed() {
    let uncovered: Vec<_> = commands().filter(|command| command.coverage().is_none()).collect();
    assert!(uncovered.is_empty(), "no test runs these, and `UNRUN` does not say why: {uncovered:#?}");
    assert!(commands().count() > 50, "hardly a command was found");
}

#[test]
fn the_list_has_only_what_documents_show() {
    for unrun in UNRUN {
        assert!(commands().any(|command| command.text == unrun.text), "no document shows `{}`", unrun.text);
        assert!(!unrun.reason.is_empty(), "why is `{}` not run?", unrun.text);
    }
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        for link in document.links() {
            let place = format!("{}:{}: `{}`", document.path, link.line, link.to);
            if link.to.contains("://") {
                assert!(link.to.starts_with("https://"), "{place} is not encrypted");
                continue;
            }
            let (path, anchor) =
                link.to.split_once('#').map_or((&*link.to, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.path.to_owned() } else { relative(document, path) };
            assert!(repository().join(&target).exists(), "{place}: there is no `{target}`");
            if let Some(anchor) = anchor {
                let headings = DOCUMENTS.iter().find(|other| other.path == target).map(Document::headings);
                let headings = headings.unwrap_or_else(|| panic!("{place}: `{target}` is no document"));
                assert!(headings.iter().any(|heading| heading.anchor == anchor), "{place}: no such heading");
            }
        }
    }
}

/// Where a document says that something is, it is.
#[test]
fn paths_in_prose_are_there() {
    let roots = ["tcpstate/", "tcpstate-common/", "tcpstate-ebpf/", "xtask/", "docs/", ".github/"];
    for document in DOCUMENTS {
        for code in document.inline_code() {
            let is_path = roots.iter().any(|root| code.starts_with(root)) && !code.contains(char::is_whitespace);
            assert!(!is_path || repository().join(&code).exists(), "{}: there is no `{code}`", document.path);
        }
    }
}

/// The path in the repository of what a document links to.
fn relative(document: &Document, to: &str) -> String {
    let mut path = PathBuf::from(document.path);
    path.pop();
    for component in Path::new(to).components() {
        match component {
            Component::ParentDir => assert!(path.pop(), "{}: `{to}` leaves the repository", document.path),
            component => path.push(component),
        }
    }
    path.to_string_lossy().into_owned()
}

/// Commands of cargo that take too long to be run name packages, benchmarks and tests that there are.
#[test]
fn cargo_knows_the_names() {
    let packages = packages();
    for command in commands() {
        for invocation in command.invocations() {
            let Invocation::Other(words) = invocation else { continue };
            if words[0] == "cargo" {
                let place = format!("{}:{}: `{}`", command.document, command.line, command.text);
                check_names(&packages, &words, &place);
            }
        }
    }
}

fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(repository());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn check_names(packages: &[Value], words: &[String], place: &str) {
    let values = |option: &str| {
        let pairs = words.windows(2).take_while(|pair| pair[0] != "--");
        pairs.filter(|pair| pair[0] == option).map(|pair| pair[1].clone()).collect::<Vec<_>>()
    };
    let named = values("-p");
    for name in &named {
        assert!(packages.iter().any(|package| package["name"] == **name), "{place}: no package `{name}`");
    }
    let meant =
        packages.iter().filter(|package| named.is_empty() || named.iter().any(|name| package["name"] == **name));
    let targets: Vec<_> = meant.flat_map(|package| package["targets"].as_array().into_iter().flatten()).collect();
    for kind in ["bench", "test"] {
        for name in values(&format!("--{kind}")) {
            let is_there = targets.iter().any(|target| target["name"] == *name && target["kind"][0] == *kind);
            assert!(is_there, "{place}: no {kind} `{name}`");
        }
    }
}
