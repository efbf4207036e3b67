//! Bytes that other processes chose, made fit for a terminal.

use std::fmt::{self, Write};

use unicode_width::UnicodeWidthChar;

/// Foreign bytes as text in which every character is visible and has a width.
///
/// A backslash comes as `\\`; an ASCII control character, and a byte that is not UTF-8, as `\x1b`; any other character
/// that a terminal may obey or not show (C1 controls, directional and other format characters, line separators,
/// combining marks) as `\u{202e}`. Different bytes give different text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<'a>(pub &'a [u8]);

impl Escaped<'_> {
    fn is_plain(&self) -> bool {
        self.0.iter().all(|&byte| matches!(byte, b' '..=b'~') && byte != b'\\')
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain()
            && let Ok(text) = str::from_utf8(self.0)
        {
            return f.write_str(text);
        }
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str(r"\\")?,
                    c => write_visible(f, c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// A phrase of ours with names in it that may be escaped already, or one that a recording has in place of it. What a terminal may obey
/// or not show comes as [`Escaped`] has it, and backslashes as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phrase<'a>(pub &'a str);

impl fmt::Display for Phrase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write_visible(f, c))
    }
}

/// A message of ours, which may have names of others in it. What a terminal may obey or not show comes as [`Escaped`] has it, but for
/// backslashes; lines after the first are indented, so that none of them looks like one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The message.
    pub text: &'a str,
    /// Whether there are sequences for colours in it that are ours.
    pub colored: bool,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            match c {
                '\n' => f.write_str("\n    ")?,
                '\x1b' if self.colored => f.write_char(c)?,
                c => write_visible(f, c)?,
            }
        }
        Ok(())
    }
}

fn write_visible(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c)),
        c if is_hidden(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
        c => f.write_char(c),
    }
}

/// Columns that escaped text takes.
pub(super) fn text_width(text: &str) -> usize {
    // Most of it is plain, and millions of lines may be laid out.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.len();
    }
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Controls, and what Unicode 16 has in the categories Cf, Zl and Zp or gives no width of its own.
fn is_hidden(c: char) -> bool {
    c.width().is_none_or(|width| width == 0)
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{Escaped, Message, text_width};

    fn escape(bytes: &[u8]) -> String {
        Escaped(bytes).to_string()
    }

    /// What `Escaped` did, undone: if this always finds the bytes again, no two names look alike.
    fn unescape(mut text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(c) = text.chars().next() {
            text = &text[c.len_utf8()..];
            if c != '\\' {
                bytes.extend(c.to_string().as_bytes());
            } else if let Some(rest) = text.strip_prefix('\\') {
                bytes.push(b'\\');
                text = rest;
            } else if let Some(rest) = text.strip_prefix('x') {
                bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                text = &rest[2..];
            } else {
                let (digits, rest) = text.strip_prefix("u{")?.split_once('}')?;
                let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                bytes.extend(c.to_string().as_bytes());
                text = rest;
            }
        }
        Some(bytes)
    }

    #[test]
    fn readable_names_stay_as_they_are() {
        for name in ["nginx: worker", "kworker/0:1", "日本", "naïve", ""] {
            assert_eq!(escape(name.as_bytes()), name);
        }
    }

    #[test]
    fn each_kind_has_its_form() {
        assert_eq!(escape(b"\x1b[31m\x00\x7f"), r"\x1b[31m\x00\x7f");
        assert_eq!(escape(br"C:\x"), r"C:\\x");
        assert_eq!(escape(b"\xff\xc3"), r"\xff\xc3");
        assert_eq!(escape("\u{9b}2J".as_bytes()), r"\u{9b}2J");
        assert_eq!(
            escape("a\u{202e}b\u{2028}c\u{200b}d\u{301}\u{e0041}".as_bytes()),
            r"a\u{202e}b\u{2028}c\u{200b}d\u{301}\u{e0041}"
        );
    }

    #[test]
    fn no_line_of_a_message_looks_like_another() {
        let text = "error: `a\nerror: \x1b[31m\u{202e}\\x` is\r\ttoo long";
        let shown = |colored| Message { text, colored }.to_string();
        assert_eq!(shown(false), "error: `a\n    error: \\x1b[31m\\u{202e}\\x` is\\x0d\\x09too long");
        assert_eq!(shown(true), "error: `a\n    error: \x1b[31m\\u{202e}\\x` is\\x0d\\x09too long");
    }

    #[test]
    fn width_is_in_columns_of_the_terminal() {
        assert_eq!(text_width(&escape(b"nginx")), 5);
        assert_eq!(text_width(&escape("日本".as_bytes())), 4);
        assert_eq!(text_width(&escape(b"\x1b")), 4);
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let parts = vec![
            "\x1b",
            "\x07",
            "\\",
            "x",
            "u",
            "{",
            "}",
            "1b",
            "\u{85}",
            "\u{9b}",
            "\u{ad}",
            "\u{61c}",
            "\u{200e}",
            "\u{202a}",
            "\u{202e}",
            "\u{2066}",
            "\u{2069}",
            "\u{2028}",
            "\u{2029}",
            "\u{feff}",
            "\u{fff9}",
            "\u{e0061}",
        ];
        let part = prop_oneof![
            prop::sample::select(parts).prop_map(|part| part.as_bytes().to_vec()),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            any::<[u8; 2]>().prop_map(|bytes| bytes.to_vec()),
        ];
        vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn nothing_invisible_is_left(bytes in bytes()) {
            let hidden = |c: char| {
                c.is_control()
                    || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
                    || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
            };
            let text = escape(&bytes);
            prop_assert!(!text.contains(hidden), "{text:?}");
        }

        #[test]
        fn different_bytes_are_different_text(bytes in bytes()) {
            prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes));
        }
    }
}
