//! A table with a blank line before it; nothing when it has no rows.

use std::io;

use anstyle::Style;

use crate::report::{
    columns::{Align, Column, Columns},
    style::{BOLD, DIM},
    words::Count,
};

/// Rows of cells. A column without a title and without content is left out.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(Style, String)>>,
}

impl Table {
    pub(super) fn new(columns: Vec<(&'static str, Align)>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are columns.
    pub(super) fn row(&mut self, cells: Vec<(Style, String)>) {
        self.rows.push(cells);
    }

    /// Writes the first `top` rows and how many there are besides.
    pub(super) fn write(&self, out: &mut impl io::Write, color: bool, top: usize) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let column = |(group, &(title, align)): (usize, &(&'static str, Align))| Column {
            title,
            align,
            group,
            width: title.len(),
            steps: &[],
        };
        let mut columns = Columns::new(self.columns.iter().enumerate().map(column).collect());
        let shown = &self.rows[..top.min(self.rows.len())];
        for row in shown {
            set(&mut columns, row, false)?;
            columns.grow();
        }
        columns.write_titles(out, if color { BOLD } else { Style::new() })?;
        for row in shown {
            set(&mut columns, row, color)?;
            columns.write_line(out)?;
        }
        let left_out = self.rows.len() - shown.len();
        if left_out > 0 {
            let style = if color { DIM } else { Style::new() };
            let more = Count(left_out as u64, "more row");
            writeln!(out, "{style}{more}: see them with a larger `--top`{style:#}")?;
        }
        Ok(())
    }
}

fn set(columns: &mut Columns, row: &[(Style, String)], color: bool) -> io::Result<()> {
    for (index, (style, text)) in row.iter().enumerate() {
        let style = if color { *style } else { Style::new() };
        columns.set(index, style, text).map_err(io::Error::other)?;
    }
    Ok(())
}
