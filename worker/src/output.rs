//! Writes a command's answer to standard output: for people, or as one JSON document.

use std::io::{self, Write};

use serde::Serialize;

/// Format of a command's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Text for people.
    #[default]
    Human,
    /// One JSON document.
    Json,
}

impl Output {
    /// Writes `answer` as JSON, or with `human`.
    pub fn write<T: Serialize + ?Sized>(
        self,
        answer: &T,
        human: impl FnOnce(&T, &mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        let written = match self {
            Self::Human => human(answer, &mut out),
            Self::Json => serde_json::to_writer_pretty(&mut out, answer)
                .map_err(io::Error::from)
                .and_then(|()| out.write_all(b"\n")),
        };
        match written.and_then(|()| out.flush()) {
            // The reader, for example `head`, has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// Reports progress to a person. A JSON document stays alone on standard output.
    pub fn say(self, sentence: &str) {
        if self == Self::Human {
            let _ = writeln!(io::stderr().lock(), "{sentence}");
        }
    }
}

/// Aligns rows under their headings.
pub fn table(out: &mut dyn Write, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: &mut dyn Iterator<Item = &str>| -> io::Result<()> {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(&mut headings.iter().copied())?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_ends_without_blanks() {
        let mut out = Vec::new();
        let rows = [vec!["a".to_owned(), "ready".to_owned()], vec!["long".to_owned(), String::new()]];
        table(&mut out, &["id", "status"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id    status\na     ready\nlong\n");
    }
}
