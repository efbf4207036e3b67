//! Command lines, as far as documents use the shell.

/// One program that a command line runs, and its arguments as written, without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// `tcpstate`, also through `sudo`.
    Tcpstate(Vec<String>),
    /// `cargo xtask`.
    Xtask(Vec<String>),
    /// Another one; its name comes first.
    Other(Vec<String>),
}

/// What separates one program from the next.
const SEPARATORS: [&str; 5] = ["|", "||", "&&", "&", ";"];
/// What is followed by a file.
const REDIRECTIONS: [&str; 5] = [">", ">>", "<", "2>", "2>>"];

/// The programs that a command line runs, in order. Comments, redirections, variables that are set and `sudo` are left out.
#[must_use]
pub fn invocations(line: &str) -> Vec<Invocation> {
    let words: Vec<_> = shlex::split(line).unwrap_or_default();
    words.split(|word| SEPARATORS.contains(&&**word)).filter_map(invocation).collect()
}

fn invocation(words: &[String]) -> Option<Invocation> {
    let mut rest = words.iter();
    let mut kept = Vec::new();
    while let Some(word) = rest.next() {
        if REDIRECTIONS.contains(&&**word) {
            rest.next();
        } else if !(kept.is_empty() && (word == "sudo" || sets_variable(word))) {
            kept.push(word.clone());
        }
    }
    match &*kept {
        [] => None,
        [tcpstate, arguments @ ..] if tcpstate == "tcpstate" => Some(Invocation::Tcpstate(arguments.to_vec())),
        [cargo, xtask, arguments @ ..] if cargo == "cargo" && xtask == "xtask" => {
            Some(Invocation::Xtask(arguments.to_vec()))
        }
        _ => Some(Invocation::Other(kept)),
    }
}

fn sets_variable(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The lines of a text as a shell reads them: those that end with a backslash go on in the next. Each with the number of the
/// first, from 0.
pub(crate) fn logical_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in lines.enumerate() {
        let (text, continued) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match found.last_mut().filter(|_| goes_on) {
            Some((_, first)) => first.push_str(text.trim_start()),
            None => found.push((number, text.to_owned())),
        }
        goes_on = continued;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Invocation, invocations, logical_lines};

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn programs_without_what_is_the_shells() {
        assert_eq!(
            invocations("FORCE=1 sudo tcpstate leaks --once > a.txt  # a comment"),
            [Invocation::Tcpstate(owned(&["leaks", "--once"]))]
        );
        assert_eq!(
            invocations("cargo xtask vm --exec 'a | b' 6.1 && ss -t | wc -l"),
            [
                Invocation::Xtask(owned(&["vm", "--exec", "a | b", "6.1"])),
                Invocation::Other(owned(&["ss", "-t"])),
                Invocation::Other(owned(&["wc", "-l"])),
            ]
        );
        assert_eq!(invocations("root=\"$(cd .. && pwd)\""), []);
    }

    #[test]
    fn lines_go_on_after_a_backslash() {
        let lines = logical_lines("a \\\n   b\nc".lines());
        assert_eq!(lines, [(0, "a b".to_owned()), (2, "c".to_owned())]);
    }
}
