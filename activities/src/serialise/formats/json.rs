//! JSON: an array with one row per line, keys in catalogue order.

use std::io::{Result, Write};

use super::{Format, Tally};
use crate::serialise::{
    Cell, Column,
    json_token::{compacted, push_quoted, quoted},
    value::write_hex,
};

/// Writes rows as JSON.
#[derive(Debug)]
pub struct Json {
    /// The text before the value of each column, escaped once: `{"id":`, `,"name":` ...
    keys: Vec<String>,
    first: bool,
    tallies: Vec<Tally>,
}

impl Json {
    /// Makes a writer of these columns.
    pub fn new(columns: &[Column]) -> Self {
        let keys = columns.iter().enumerate().map(|(index, column)| {
            let mut key = String::from(if index == 0 { "{" } else { "," });
            push_quoted(&column.name, &mut key);
            key.push(':');
            key
        });
        Self { keys: keys.collect(), first: true, tallies: vec![Tally::default(); columns.len()] }
    }
}

impl Format for Json {
    fn begin(&mut self, out: &mut impl Write) -> Result<()> {
        out.write_all(b"[")
    }

    fn begin_row(&mut self, out: &mut impl Write) -> Result<()> {
        let before = if std::mem::replace(&mut self.first, false) { "\n" } else { ",\n" };
        out.write_all(before.as_bytes())
    }

    fn cell(&mut self, column: usize, cell: Cell<'_>, out: &mut impl Write) -> Result<()> {
        out.write_all(self.keys[column].as_bytes())?;
        match cell {
            Cell::Null => out.write_all(b"null"),
            Cell::Bare(text) | Cell::Token(text) => out.write_all(text.as_bytes()),
            Cell::EscapedToken(text) => {
                self.tallies[column].escaped += 1;
                out.write_all(text.as_bytes())
            }
            Cell::Plain(text) => {
                out.write_all(b"\"")?;
                out.write_all(text.as_bytes())?;
                out.write_all(b"\"")
            }
            Cell::Text(text) => quoted(text, |piece| out.write_all(piece.as_bytes())),
            Cell::LargeToken(text) => compacted(text, |piece| out.write_all(piece.as_bytes())),
            Cell::Hex(bytes) => {
                out.write_all(b"\"\\\\x")?;
                write_hex(bytes, out)?;
                out.write_all(b"\"")
            }
        }
    }

    fn end_row(&mut self, out: &mut impl Write) -> Result<()> {
        out.write_all(if self.keys.is_empty() { b"{}" } else { b"}" })
    }

    fn end(&mut self, out: &mut impl Write) -> Result<()> {
        out.write_all(if self.first { b"]\n" } else { b"\n]\n" })
    }

    fn tallies(self) -> Vec<Tally> {
        self.tallies
    }
}
