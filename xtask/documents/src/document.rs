//! Markdown, as far as tests need it.

use std::{collections::HashMap, ops::Range};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::{command::Shown, shell::logical_lines};

/// A document of the repository.
#[derive(Clone, Copy, Debug)]
pub struct Document {
    /// Where it is in the repository.
    pub path: &'static str,
    /// What it says.
    pub text: &'static str,
}

/// A block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeBlock {
    /// What follows the fence, such as `console`.
    pub language: String,
    /// The line of its first line in the document, from 1.
    pub line: usize,
    /// Without the fences.
    pub text: String,
}

/// A link that the document has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its line in the document, from 1.
    pub line: usize,
    /// Where it leads, as written.
    pub to: String,
}

/// A heading, as a link names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// As it is written, without marks.
    pub text: String,
    /// What follows the `#` of a link to it.
    pub anchor: String,
}

impl Document {
    /// Its blocks of code.
    #[must_use]
    pub fn blocks(&self) -> Vec<CodeBlock> {
        let mut blocks: Vec<CodeBlock> = Vec::new();
        let mut open = false;
        for (event, range) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let (language, fence) = match kind {
                        CodeBlockKind::Fenced(language) => (language.to_string(), 1),
                        CodeBlockKind::Indented => (String::new(), 0),
                    };
                    blocks.push(CodeBlock { language, line: self.line(&range) + fence, text: String::new() });
                    open = true;
                }
                Event::Text(text) if open => blocks.last_mut().map_or((), |block| block.text.push_str(&text)),
                Event::End(TagEnd::CodeBlock) => open = false,
                _ => {}
            }
        }
        blocks
    }

    /// The commands that it shows: lines after a prompt in `console` blocks, lines of `sh` blocks, and those of `run` in `yaml`
    /// blocks. A block that is a script of its own, with `#!`, is none of them: see [`Document::scripts`].
    #[must_use]
    pub fn commands(&self) -> Vec<Shown> {
        let commands = self.blocks().into_iter().flat_map(|block| {
            let lines = match &*block.language {
                "console" => typed(&block.text),
                "sh" if !block.is_script() => logical_lines(block.text.lines()),
                "yaml" => run_by_workflow(&block.text),
                _ => Vec::new(),
            };
            let is_command = |line: &str| !line.is_empty() && !line.starts_with('#');
            let lines = lines.into_iter().map(|(number, line)| (number, without_comment(line.trim()).to_owned()));
            let lines = lines.filter(|(_, line)| is_command(line));
            lines
                .map(|(number, text)| Shown { document: self.path, line: block.line + number, text })
                .collect::<Vec<_>>()
        });
        commands.collect()
    }

    /// The scripts that it shows whole.
    #[must_use]
    pub fn scripts(&self) -> Vec<CodeBlock> {
        self.blocks().into_iter().filter(CodeBlock::is_script).collect()
    }

    /// What it says in code marks amid prose.
    #[must_use]
    pub fn inline_code(&self) -> Vec<String> {
        let code = self.events().into_iter().filter_map(|(event, _)| match event {
            Event::Code(text) => Some(text.to_string()),
            _ => None,
        });
        code.collect()
    }

    /// Its links.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let links = self.events().into_iter().filter_map(|(event, range)| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(Link { line: self.line(&range), to: dest_url.to_string() })
            }
            _ => None,
        });
        links.collect()
    }

    /// Its headings, with the anchors that GitHub gives them.
    #[must_use]
    pub fn headings(&self) -> Vec<Heading> {
        let mut headings = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut open: Option<String> = None;
        for (event, _) in self.events() {
            match event {
                Event::Start(Tag::Heading { .. }) => open = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut open {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let text = open.take().unwrap_or_default();
                    let mut anchor = anchor(&text);
                    let before = seen.entry(anchor.clone()).or_default();
                    if *before > 0 {
                        anchor = format!("{anchor}-{before}");
                    }
                    *before += 1;
                    headings.push(Heading { text, anchor });
                }
                _ => {}
            }
        }
        headings
    }

    fn events(&self) -> Vec<(Event<'static>, Range<usize>)> {
        Parser::new_ext(self.text, Options::ENABLE_TABLES).into_offset_iter().collect()
    }

    /// The line on which a part of the text begins, from 1.
    fn line(&self, range: &Range<usize>) -> usize {
        self.text[..range.start].matches('\n').count() + 1
    }
}

impl CodeBlock {
    fn is_script(&self) -> bool {
        self.text.starts_with("#!")
    }
}

/// What follows the prompts of a terminal.
fn typed(text: &str) -> Vec<(usize, String)> {
    let lines = logical_lines(text.lines());
    lines.into_iter().filter_map(|(number, line)| Some((number, line.strip_prefix("$ ")?.to_owned()))).collect()
}

/// The lines that the steps of a workflow run.
fn run_by_workflow(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(value) = line.trim_start().trim_start_matches("- ").strip_prefix("run: ") else { continue };
        if value != "|" {
            found.push((number, value.to_owned()));
            continue;
        }
        // Where the key is, not the dash before it.
        let key = line.len() - line.trim_start().trim_start_matches("- ").len();
        let is_deeper = |line: &&&str| line.trim().is_empty() || line.len() - line.trim_start().len() > key;
        let body = lines[number + 1..].iter().take_while(is_deeper).copied();
        found.extend(logical_lines(body).into_iter().map(|(at, line)| (number + 1 + at, line)));
    }
    found
}

/// A line without what a shell takes for a comment.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => return line[..at].trim_end(),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        before = c;
    }
    line
}

/// GitHub's: lower case, without punctuation, spaces as hyphens.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Document, without_comment};

    const DOCUMENT: Document = Document {
        path: "a.md",
        text: "# What `a` is: all\n\n```console\n$ a --b \\\n    c   # why\nb\n```\n\n\
               ## What `a` is: all\n\n```yaml\nsteps:\n  - run: a\n  - name: x\n    run: |\n      b \\\n        c\n      d\n    with: e\n```\n\n\
               ```sh\n#!/bin/sh\nf\n```\n\n[g](h.md#i)\n",
    };

    #[test]
    fn commands_of_terminals_and_workflows() {
        let commands: Vec<_> = DOCUMENT.commands().into_iter().map(|command| (command.line, command.text)).collect();
        let expected = [(4, "a --b c"), (13, "a"), (16, "b c"), (18, "d")];
        assert_eq!(commands, expected.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(DOCUMENT.scripts()[0].text, "#!/bin/sh\nf\n");
    }

    #[test]
    fn anchors_and_links() {
        let anchors: Vec<_> = DOCUMENT.headings().into_iter().map(|heading| heading.anchor).collect();
        assert_eq!(anchors, ["what-a-is-all", "what-a-is-all-1"]);
        assert_eq!((DOCUMENT.links()[0].line, &*DOCUMENT.links()[0].to), (27, "h.md#i"));
    }

    #[test]
    fn comments_are_no_part_of_a_command() {
        assert_eq!(without_comment("a '#' b#c # d"), "a '#' b#c");
    }
}
