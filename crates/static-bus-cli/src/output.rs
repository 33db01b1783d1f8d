//! What commands print: tables for people, or JSON for programs.

use std::io::{self, Write as _};

use comfy_table::{CellAlignment, ContentArrangement, presets};
use serde::Serialize;

use super::text;

/// The form of the output.
#[derive(Clone, Copy)]
pub struct Output {
    json: bool,
}

/// A table without lines.
pub struct Table(comfy_table::Table);

/// The alignment of a column.
#[derive(Clone, Copy)]
pub enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

impl Output {
    pub fn new(json: bool) -> Self {
        Output { json }
    }

    pub fn is_json(self) -> bool {
        self.json
    }

    /// Prints a text.
    pub fn print(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Prints objects as JSON, one in each line.
    pub fn objects<T: Serialize>(self, objects: &[T]) -> io::Result<()> {
        let mut lines = String::new();
        for object in objects {
            let json = serde_json::to_string(object)?;
            lines.push_str(&text::visible_json(&json));
            lines.push('\n');
        }
        self.print(&lines)
    }
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        let columns: Vec<_> = columns.into_iter().collect();
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|column| match column {
            Column::Left(name) | Column::Right(name) => *name,
        }));
        for (at, column) in columns.into_iter().enumerate() {
            let settings = table.column_mut(at).expect("it has a header");
            settings.set_padding((0, 2));
            settings.set_cell_alignment(match column {
                Column::Left(_) => CellAlignment::Left,
                Column::Right(_) => CellAlignment::Right,
            });
        }
        Table(table)
    }

    /// Adds a row. Its texts must be [visible](text::visible).
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in self.0.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
