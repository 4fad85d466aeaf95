//! Tables: aligned columns, no lines, so that `awk` can read them too.

use std::fmt;

/// A table for people.
#[derive(Debug)]
pub struct Table(comfy_table::Table);

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self::wide(headings)
    }

    /// A table with as many headings as are given.
    pub fn wide<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        table.set_header(headings.into_iter().collect::<Vec<_>>());
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self(table)
    }

    /// Adds a row; cells may be coloured.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) -> &mut Self {
        self.wide_row(cells)
    }

    /// Adds a row with as many cells as are given. A line end in a cell ends no row.
    pub fn wide_row(&mut self, cells: impl IntoIterator<Item = String>) -> &mut Self {
        let cells = cells.into_iter().map(|cell| cell.replace('\r', "\\r").replace('\n', "\\n"));
        self.0.add_row(cells.collect::<Vec<_>>());
        self
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.to_string().lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let mut table = Table::new(["NAME", "STATE"]);
        assert!(table.is_empty());
        table
            .row(["a".into(), "long state".into()])
            .row([crate::style::good("longer"), String::new()]);
        table.row(["a\nb".into(), String::new()]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(plain, "NAME    STATE\na       long state\nlonger\na\\nb\n");
    }
}
