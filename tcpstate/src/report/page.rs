//! Labelled paragraphs that fit the width of a terminal. Nothing is cut off: what does not fit goes to the next line.

use std::{collections::BTreeSet, fmt, io};

use anstyle::Style;

use super::escape::text_width;

/// Columns of a label with the space around it.
const LABEL: usize = 12;
/// A label stands this far from the left edge.
const INDENT: usize = 2;
/// Text gets at least this many columns, however narrow the terminal.
const NARROWEST: usize = 20;

/// A paragraph: pieces that are never broken, with blanks between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Paragraph {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    /// Blanks before it, where it does not begin a line.
    gap: usize,
    text: String,
    style: Style,
}

impl Paragraph {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds text that may be broken at its blanks.
    pub(super) fn text(self, text: impl fmt::Display) -> Self {
        self.styled(Style::new(), text)
    }

    /// The same in a style.
    pub(super) fn styled(mut self, style: Style, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        self.pieces.extend(text.split(' ').map(|word| Piece { gap: 1, text: word.to_owned(), style }));
        self
    }

    /// Adds a piece in a style, one blank after what is before it.
    pub(super) fn word(self, style: Style, text: impl fmt::Display) -> Self {
        self.piece(1, style, text)
    }

    /// Adds a piece, two blanks after what is before it.
    pub(super) fn item(self, style: Style, text: impl fmt::Display) -> Self {
        self.piece(2, style, text)
    }

    /// Adds to the last piece.
    pub(super) fn glue(mut self, text: impl fmt::Display) -> Self {
        match self.pieces.last_mut() {
            Some(last) => last.text.push_str(&text.to_string()),
            None => return self.word(Style::new(), text),
        }
        self
    }

    fn piece(mut self, gap: usize, style: Style, text: impl fmt::Display) -> Self {
        self.pieces.push(Piece { gap, text: text.to_string(), style });
        self
    }
}

/// Writes paragraphs.
#[derive(Debug)]
pub(super) struct Page<'a, W> {
    out: &'a mut W,
    width: Option<usize>,
    color: bool,
    /// What is to be said once.
    said: BTreeSet<String>,
}

impl<'a, W: io::Write> Page<'a, W> {
    /// `width` in columns; without one lines are as long as their paragraphs.
    pub(super) fn new(out: &'a mut W, width: Option<usize>, color: bool) -> Self {
        Self { out, width, color, said: BTreeSet::new() }
    }

    /// Whether this has not been asked of the same text on this page.
    pub(super) fn is_new(&mut self, text: &str) -> bool {
        self.said.insert(text.to_owned())
    }

    /// Writes a paragraph from the left edge on.
    pub(super) fn headline(&mut self, paragraph: &Paragraph) -> io::Result<()> {
        self.write("", 0, INDENT + LABEL, paragraph)
    }

    /// Writes a paragraph beside a label. An empty label continues the paragraph before.
    pub(super) fn labelled(&mut self, label: &str, paragraph: &Paragraph) -> io::Result<()> {
        self.write(label, INDENT + LABEL, INDENT + LABEL + 2, paragraph)
    }

    pub(super) fn blank(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// `start` is where the first line begins, `hang` where the others do.
    fn write(&mut self, label: &str, start: usize, hang: usize, paragraph: &Paragraph) -> io::Result<()> {
        let width = self.width.map_or(usize::MAX, |width| width.max(hang + NARROWEST));
        let mut column = start;
        if start > 0 {
            let style = if self.color { Style::new().bold() } else { Style::new() };
            let padding = start - INDENT - text_width(label);
            let blanks = |n| " ".repeat(n);
            match label {
                "" => write!(self.out, "{}", blanks(start))?,
                label => write!(self.out, "{}{style}{label}{style:#}{}", blanks(INDENT), blanks(padding))?,
            }
        }
        let mut at_start = true;
        for Piece { gap, text, style } in &paragraph.pieces {
            let gap = if at_start { 0 } else { *gap };
            let needed = gap + text_width(text);
            if !at_start && column.saturating_add(needed) > width {
                write!(self.out, "\n{}", " ".repeat(hang))?;
                column = hang;
            } else {
                write!(self.out, "{}", " ".repeat(gap))?;
                column += gap;
            }
            match style {
                style if self.color && *style != Style::new() => write!(self.out, "{style}{text}{style:#}")?,
                _ => self.out.write_all(text.as_bytes())?,
            }
            column += text_width(text);
            at_start = false;
        }
        writeln!(self.out)
    }
}
