//! Columns that line up.

use crate::human::plain;

/// Rows of text under a header.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

struct Column {
    name: &'static str,
    align: Align,
}

impl Table {
    /// A table with these columns.
    pub fn new<const N: usize>(columns: [(&'static str, Align); N]) -> Table {
        let columns = columns.into_iter().map(|(name, align)| Column { name, align }).collect();
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are columns.
    pub fn push<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// The lines, each ended.
    pub fn render(&self) -> String {
        let width = |text: &str| text.chars().count();
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let cells = self.rows.iter().map(|row| width(&row[at]));
                cells.max().unwrap_or(0).max(width(column.name))
            })
            .collect();
        let header = self.columns.iter().map(|column| column.name.to_owned()).collect();
        let mut text = String::new();
        for row in std::iter::once(&header).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, column), &wide) in row.iter().zip(&self.columns).zip(&widths) {
                let padding = " ".repeat(wide - width(cell));
                match column.align {
                    Align::Left => line.extend([cell, &padding, "  "]),
                    Align::Right => line.extend([&padding, cell.as_str(), "  "]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let mut table =
            Table::new([("ID", Align::Right), ("NAME", Align::Left), ("SIZE", Align::Right)]);
        table.push(["7".into(), "é\u{1b}[2J".into(), "1 B".into()]);
        table.push(["123".into(), "long name".into(), String::new()]);
        assert_eq!(table.render(), " ID  NAME       SIZE\n  7  é?[2J       1 B\n123  long name\n");
    }
}
