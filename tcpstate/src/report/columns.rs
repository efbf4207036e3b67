//! Lines of cells in columns that only ever grow.

use std::{
    fmt::{self, Write as _},
    io,
};

use anstyle::Style;

use super::escape::text_width;

/// Where the text of a cell stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A column as it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// First line.
    pub(super) title: &'static str,
    pub(super) align: Align,
    /// Columns of the same group are equally wide.
    pub(super) group: usize,
    /// Terminal columns to start with; a column of width 0 is left out.
    pub(super) width: usize,
    /// Widths to grow to, ascending; a cell wider than the last of them gets what it needs.
    pub(super) steps: &'static [usize],
}

/// Lays cells out in columns.
///
/// All cells of a line are known before it is laid out, so every line has its columns start where the next line has
/// them too, unless the next line holds a cell that is wider than its column: then that column is wider from that line on.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// By group.
    widths: Vec<usize>,
    cells: Vec<Cell>,
    line: String,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    text: String,
    /// Terminal columns of `text`.
    width: usize,
    style: Style,
}

impl Columns {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        let groups = columns.iter().map(|column| column.group + 1).max().unwrap_or(0);
        let mut widths = vec![0; groups];
        for column in &columns {
            widths[column.group] = widths[column.group].max(column.width);
        }
        let cells = vec![Cell::default(); columns.len()];
        Self { columns, widths, cells, line: String::new() }
    }

    /// Sets a cell of the next line.
    pub(super) fn set(&mut self, column: usize, style: Style, content: impl fmt::Display) -> fmt::Result {
        let cell = &mut self.cells[column];
        cell.style = style;
        cell.text.clear();
        write!(cell.text, "{content}")?;
        cell.width = text_width(&cell.text);
        Ok(())
    }

    /// Writes the titles as a line.
    pub(super) fn write_titles(&mut self, out: &mut impl io::Write, style: Style) -> io::Result<()> {
        for index in 0..self.columns.len() {
            let title = self.columns[index].title;
            self.set(index, style, title).map_err(io::Error::other)?;
        }
        self.write_line(out)
    }

    /// Writes the cells that are set as a line.
    pub(super) fn write_line(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        self.grow();
        self.line.clear();
        let last = self.columns.len().saturating_sub(1);
        for (index, (column, cell)) in self.columns.iter().zip(&self.cells).enumerate() {
            let width = self.widths[column.group];
            if width == 0 {
                continue;
            }
            if !self.line.is_empty() {
                self.line.push(' ');
            }
            let padding = width.saturating_sub(cell.width);
            let (before, after) = match column.align {
                Align::Left if index == last => (0, 0),
                Align::Left => (0, padding),
                Align::Right => (padding, 0),
            };
            push_spaces(&mut self.line, before);
            if cell.style == Style::new() || cell.text.is_empty() {
                self.line.push_str(&cell.text);
            } else {
                let style = cell.style;
                write!(self.line, "{style}{}{style:#}", cell.text).map_err(io::Error::other)?;
            }
            push_spaces(&mut self.line, after);
        }
        self.line.truncate(self.line.trim_end_matches(' ').len());
        self.line.push('\n');
        out.write_all(self.line.as_bytes())
    }

    /// Widens columns to what the cells of the next line need; for a table whose lines are all known before the first.
    pub(super) fn grow(&mut self) {
        for (column, cell) in self.columns.iter().zip(&self.cells) {
            let width = &mut self.widths[column.group];
            let needed = cell.width;
            if needed > *width {
                *width = column.steps.iter().copied().find(|&step| step >= needed).unwrap_or(needed);
            }
        }
    }
}

/// Pieces at a time: a trace has millions of lines.
fn push_spaces(line: &mut String, mut count: usize) {
    const SPACES: &str = "                ";
    while count > 0 {
        let piece = count.min(SPACES.len());
        line.push_str(&SPACES[..piece]);
        count -= piece;
    }
}
