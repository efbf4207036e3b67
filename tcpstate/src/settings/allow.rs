//! The file of `tcpstate run --allow`: leaks that are known and let pass, each with a reason.

mod remote;

use std::{
    io,
    ops::Range,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tcpstate_core::{
    aggregate::{leaks::Suspect, verdict::Verdict},
    model::{
        Endpoint,
        leak::PlaceId,
        stack::{Frame, Stack},
    },
};
use thiserror::Error;
use toml::Spanned;
use wildmatch::WildMatch;

use self::remote::Remote;
use crate::host;

/// Bytes of a file at most: 10,000 rules.
const MOST: u64 = 1 << 20;

/// Why the file cannot be worked with.
#[derive(Debug, Error)]
pub enum AllowError {
    /// It cannot be read.
    #[error("failed to read the allow list `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What it says makes no sense.
    #[error("{}:{line}: {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}

/// Rules in the order of the file.
#[derive(Clone, Debug)]
pub struct AllowList {
    /// The file.
    pub path: PathBuf,
    /// Its rules.
    pub rules: Vec<AllowRule>,
}

/// What one rule lets pass: everything that is given must match.
#[derive(Clone, Debug)]
pub struct AllowRule {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// Why these leaks may pass.
    pub reason: String,
    function: Option<WildMatch>,
    module: Option<WildMatch>,
    remote: Option<Remote>,
    verdict: Option<Verdict>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowFile {
    #[serde(default)]
    allow: Vec<Spanned<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reason: Option<String>,
    function: Option<Spanned<String>>,
    module: Option<Spanned<String>>,
    remote: Option<Spanned<String>>,
    verdict: Option<Spanned<String>>,
}

impl AllowList {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// With file and line, when it cannot be read, has an unknown key, or a rule that lacks a reason or a condition.
    pub fn read(path: &Path) -> Result<Self, AllowError> {
        let text = host::text(path, MOST).map_err(|source| AllowError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    ///
    /// As [`AllowList::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, AllowError> {
        let line = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count();
        let wrong = |at: Range<usize>, problem: String| AllowError::Content {
            path: path.to_owned(),
            line: line(at.start),
            problem,
        };
        let file: AllowFile = toml::from_str(text).map_err(|error| {
            let problem = error.message().lines().collect::<Vec<_>>().join(" ");
            wrong(error.span().unwrap_or_default(), problem)
        })?;
        let rules = file.allow.into_iter().map(|entry| {
            let at = entry.span();
            rule(line(at.start), entry.into_inner()).map_err(|(place, problem)| wrong(place.unwrap_or(at), problem))
        });
        Ok(Self { path: path.to_owned(), rules: rules.collect::<Result<_, _>>()? })
    }

    /// The first rule that lets a leaked socket pass.
    pub fn rule_for<'a>(&self, suspect: &Suspect, stack: impl Fn(PlaceId) -> Option<&'a Stack>) -> Option<usize> {
        let frames: Vec<_> =
            suspect.places.iter().filter_map(|&place| stack(place)).flat_map(|stack| &stack.frames).collect();
        self.rules.iter().position(|rule| rule.matches(suspect.verdict, suspect.remote, &frames))
    }
}

impl AllowRule {
    fn matches(&self, verdict: Verdict, remote: Endpoint, frames: &[&Frame]) -> bool {
        self.verdict.is_none_or(|wanted| wanted == verdict)
            && self.remote.as_ref().is_none_or(|wanted| wanted.matches(remote))
            && self.function.as_ref().is_none_or(|function| {
                frames.iter().any(|frame| frame.function.as_deref().is_some_and(|name| function.matches(name)))
            })
            && self.module.as_ref().is_none_or(|module| frames.iter().any(|frame| is_of(frame, module)))
    }
}

/// By the whole path of the module, or the last part of it.
fn is_of(frame: &Frame, module: &WildMatch) -> bool {
    let path = frame.module.as_deref().map(|path| String::from_utf8_lossy(path.as_os_str().as_bytes()));
    let name = frame.module_name().map(|name| String::from_utf8_lossy(name.as_bytes()));
    [path, name].into_iter().flatten().any(|name| module.matches(&name))
}

type Problem = (Option<Range<usize>>, String);

fn rule(line: usize, entry: Entry) -> Result<AllowRule, Problem> {
    let Entry { reason, function, module, remote, verdict } = entry;
    let reason = reason.filter(|reason| !reason.trim().is_empty()).ok_or_else(|| {
        (None, "a rule without a reason: say why these leaks may pass, as in `reason = \"…\"`".to_owned())
    })?;
    let pattern = |text: Option<Spanned<String>>| match text {
        Some(text) if text.get_ref().trim().is_empty() => Err((
            Some(text.span()),
            "an empty pattern matches nothing: give a name, `*` stands for any part".to_owned(),
        )),
        text => Ok(text.map(|text| WildMatch::new(text.get_ref()))),
    };
    let rule = AllowRule {
        line,
        reason,
        function: pattern(function)?,
        module: pattern(module)?,
        remote: remote
            .map(|text| text.get_ref().parse().map_err(|problem| (Some(text.span()), problem)))
            .transpose()?,
        verdict: verdict
            .map(|text| self::verdict(text.get_ref()).map_err(|problem| (Some(text.span()), problem)))
            .transpose()?,
    };
    if rule.function.is_none() && rule.module.is_none() && rule.remote.is_none() && rule.verdict.is_none() {
        let problem =
            "a rule without a condition would let every leak pass: give `function`, `module`, `remote` or `verdict`";
        return Err((None, problem.to_owned()));
    }
    Ok(rule)
}

/// Verdicts that are found in a run.
fn verdict(name: &str) -> Result<Verdict, String> {
    let possible = |verdict: &Verdict| verdict.is_leak() && !verdict.is_guess();
    match Verdict::ALL.into_iter().find(|verdict| verdict.name() == name) {
        Some(verdict) if possible(&verdict) => Ok(verdict),
        Some(Verdict::Pool) => {
            Err("`pool` is a guess from growth over time, which a run has not: name the `function` \
                                    that opens the sockets of the pool"
                .to_owned())
        }
        Some(_) => Err(format!("`{name}` is no leak, and passes anyway: remove the rule")),
        None => {
            let names: Vec<_> = Verdict::ALL.iter().filter(|verdict| possible(verdict)).map(|v| v.name()).collect();
            Err(format!("no verdict `{name}`: it is one of {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AllowList, String> {
        AllowList::parse(Path::new("allow.toml"), text).map_err(|error| error.to_string())
    }

    fn frame(function: &str, module: &str) -> Frame {
        let module = Some(Path::new(module).into());
        Frame { function: Some(function.to_owned()), source: None, module, offset: 0, inlined: false, runtime: false }
    }

    #[test]
    fn everything_given_must_match() {
        let list = parse(
            "# What we know of.\n[[allow]]\nreason = \"pool\"\nfunction = \"*pool::connect*\"\nmodule = \"libpq.so.*\"\n\
             remote = \"10.0.0.0/8:5432\"\nverdict = \"eof-unread\"\n",
        )
        .expect("valid");
        let rule = &list.rules[0];
        assert_eq!((rule.line, rule.reason.as_str()), (2, "pool"));
        let connect = frame("app::pool::connect::{{closure}}", "/usr/bin/app");
        let library = frame("PQconnect", "/usr/lib/libpq.so.5");
        let both = [&connect, &library];
        let remote = |text: &str| {
            let addr: std::net::SocketAddr = text.parse().expect("an address");
            Endpoint { addr: addr.ip(), port: addr.port() }
        };
        let there = remote("10.1.2.3:5432");
        assert!(rule.matches(Verdict::EofUnread, there, &both));
        assert!(rule.matches(Verdict::EofUnread, remote("[::ffff:10.1.2.3]:5432"), &both), "v4-mapped");
        assert!(!rule.matches(Verdict::EofRead, there, &both), "another verdict");
        assert!(!rule.matches(Verdict::EofUnread, remote("10.1.2.3:5433"), &both), "another port");
        assert!(!rule.matches(Verdict::EofUnread, remote("11.1.2.3:5432"), &both), "another address");
        assert!(!rule.matches(Verdict::EofUnread, there, &both[1..]), "another function");
        assert!(!rule.matches(Verdict::EofUnread, there, &both[..1]), "another module");
        assert!(!rule.matches(Verdict::EofUnread, there, &[]), "no stack");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, words) in [
            ("[[allow]]\nreason = \"x\"\nfunktion = \"y\"\n", 3, "unknown field `funktion`"),
            ("[[alow]]\n", 1, "unknown field `alow`"),
            ("\n[[allow]]\nfunction = \"y\"\n", 2, "without a reason"),
            ("[[allow]]\nreason = \" \"\nfunction = \"y\"\n", 1, "without a reason"),
            ("[[allow]]\nreason = \"x\"\n", 1, "without a condition"),
            ("[[allow]]\nreason = \"x\"\nverdict = \"eof\"\n", 3, "eof-read"),
            ("[[allow]]\nreason = \"x\"\nverdict = \"pool\"\n", 3, "name the `function`"),
            ("[[allow]]\nreason = \"x\"\nverdict = \"sending\"\n", 3, "is no leak"),
            ("[[allow]]\nreason = \"x\"\nremote = \"db\"\n", 3, "`db` is no remote end"),
            ("[[allow]]\nreason = \"x\"\nmodule = \"\"\n", 3, "empty pattern"),
            ("[[allow]]\nreason = \"x\nfunction = \"y\"\n", 2, ""),
            ("allow = 3\n", 1, "expected"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(&format!("allow.toml:{line}: ")), "{text}: {error}");
            assert!(error.contains(words) && !error.contains('\n'), "{text}: {error}");
        }
        assert!(parse("").expect("no rule is no mistake").rules.is_empty());
    }
}
