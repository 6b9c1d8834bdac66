//! Reads our CSV files field by field. Distinguishes NULL from the empty string, as no CSV library does.

use anyhow::{bail, ensure};

use crate::entry::EntryContents;

/// A CSV file being read. Keeps no part of a field in memory, however long it is.
pub(crate) struct CsvRows<'a, 'f> {
    input: EntryContents<'a, 'f>,
    quoted: bool,
}

impl<'a, 'f> CsvRows<'a, 'f> {
    /// Reads the byte order mark and the header, which must name these columns.
    pub(crate) fn begin<'n>(
        input: EntryContents<'a, 'f>,
        columns: impl ExactSizeIterator<Item = &'n str>,
    ) -> anyhow::Result<Self> {
        let mut rows = Self { input, quoted: false };
        ensure!(rows.input.take("\u{feff}".as_bytes())?, "it does not begin with a byte order mark");
        let last = columns.len().saturating_sub(1);
        for (index, name) in columns.enumerate() {
            let mut same = rows.begin_field()?;
            for byte in name.bytes() {
                same = same && rows.next()? == Some(byte);
            }
            ensure!(same && rows.next()?.is_none(), "the header does not name the column `{name}`");
            ensure!(rows.end_field(index == last)?, "the header has more or fewer columns than the manifest");
        }
        Ok(rows)
    }

    /// Returns whether another row follows.
    pub(crate) fn has_row(&mut self) -> anyhow::Result<bool> {
        Ok(self.input.peek()?.is_some())
    }

    /// Moves to the next field. Returns whether it holds a value; the empty string is one.
    pub(crate) fn begin_field(&mut self) -> anyhow::Result<bool> {
        self.quoted = self.input.peek()? == Some(b'"');
        if self.quoted {
            self.input.next()?;
            return Ok(true);
        }
        Ok(!matches!(self.input.peek()?, None | Some(b',' | b'\r')))
    }

    /// Returns the next byte of the field, or `None` at its end.
    #[inline]
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<u8>> {
        if self.quoted {
            return match self.input.next()? {
                Some(b'"') if self.input.peek()? == Some(b'"') => self.input.next(),
                Some(b'"') => {
                    self.quoted = false;
                    ensure!(
                        matches!(self.input.peek()?, Some(b',' | b'\r')),
                        "bytes follow the closing quote of a CSV field"
                    );
                    Ok(None)
                }
                Some(byte) => Ok(Some(byte)),
                None => bail!("the CSV ends within a field"),
            };
        }
        match self.input.peek()? {
            None => bail!("the CSV ends within a row"),
            Some(b',' | b'\r') => Ok(None),
            Some(b'"' | b'\n' | b';' | b'\t') => bail!("a CSV field that has to be quoted is not"),
            Some(_) => self.input.next(),
        }
    }

    /// Ends a field whose bytes were all read. Returns whether a comma follows, or after the last field a line end.
    pub(crate) fn end_field(&mut self, is_last: bool) -> anyhow::Result<bool> {
        self.input.take(if is_last { b"\r\n" } else { b"," })
    }

    /// Returns the file, to be digested to its end.
    pub(crate) fn into_inner(self) -> EntryContents<'a, 'f> {
        self.input
    }
}
