//! Bytes that other processes chose, made fit for a terminal.

use std::fmt::{self, Write};

use unicode_width::UnicodeWidthChar;

/// Foreign bytes as text in which every character is visible and takes the columns that [`Escaped::width`] says.
///
/// A backslash comes as `\\`; an ASCII control character, and a byte that is not UTF-8, as `\x1b`; any other character
/// that a terminal may obey or not show (C1 controls, directional and other format characters, line separators,
/// combining marks) as `\u{202e}`. Different bytes give different text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<'a>(pub &'a [u8]);

impl Escaped<'_> {
    /// Columns that the text takes on a terminal.
    #[must_use]
    pub fn width(&self) -> usize {
        if self.is_plain() { self.0.len() } else { text_width(&self.to_string()) }
    }

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
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if is_hidden(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Columns that escaped text takes.
pub(super) fn text_width(text: &str) -> usize {
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
