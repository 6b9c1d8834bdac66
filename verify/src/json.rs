//! Reads our JSON files cell by cell, in their only layout, as strictly as the strictest reader.

use anyhow::{Context as _, anyhow, bail, ensure};

use export_activities::{archive::manifest::CsvCells, serialise::Cell};

use crate::entry::EntryContents;

/// Deeper than PostgreSQL nests values. Without a limit, a hostile file would fill the memory.
const MAX_DEPTH: usize = 1 << 20;

/// A JSON file being read. Keeps no part of a cell in memory, however long it is.
pub(crate) struct JsonRows<'a, 'f> {
    input: EntryContents<'a, 'f>,
    /// The bytes before the value of each column.
    keys: Vec<Vec<u8>>,
    any: bool,
    /// The text of the last cell that was made again.
    scratch: Vec<u8>,
}

/// Kind of a cell, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Null,
    String,
    Other,
}

impl<'a, 'f> JsonRows<'a, 'f> {
    pub(crate) fn begin<'n>(
        mut input: EntryContents<'a, 'f>,
        columns: impl Iterator<Item = &'n str>,
    ) -> anyhow::Result<Self> {
        ensure!(input.take(b"[")?, "it is no JSON array");
        let keys = columns.enumerate().map(|(index, name)| {
            let before = if index == 0 { '{' } else { ',' };
            Ok(format!("{before}{}:", serde_json::to_string(name)?).into_bytes())
        });
        Ok(Self { input, keys: keys.collect::<anyhow::Result<_>>()?, any: false, scratch: Vec::new() })
    }

    /// Moves to the next row. Returns whether there is one.
    pub(crate) fn next_row(&mut self) -> anyhow::Result<bool> {
        let first = !std::mem::replace(&mut self.any, true);
        if first && self.input.peek()? == Some(b']') {
            ensure!(self.input.take(b"]\n")? && self.input.peek()?.is_none(), "bytes follow the JSON array");
            return Ok(false);
        }
        if !first && self.input.peek()? == Some(b'\n') {
            ensure!(
                self.input.take(b"\n]\n")? && self.input.peek()?.is_none(),
                "the JSON array does not end well"
            );
            return Ok(false);
        }
        ensure!(self.input.take(if first { b"\n" } else { b",\n" })?, "a JSON row is not on a separate line");
        Ok(true)
    }

    /// Moves to the value of a column.
    pub(crate) fn begin_cell(&mut self, column: usize) -> anyhow::Result<Start> {
        ensure!(self.input.take(&self.keys[column])?, "the JSON key is another one");
        match self.input.peek()? {
            Some(b'"') => Ok(Start::String),
            Some(b'n') => {
                ensure!(self.input.take(b"null")?, "the JSON value is not readable");
                Ok(Start::Null)
            }
            Some(_) => Ok(Start::Other),
            None => bail!("the JSON ends within a row"),
        }
    }

    /// Passes a cell to `then`, as writers of other formats get it, and of a long one about `limit` bytes.
    pub(crate) fn with_cell<T>(
        &mut self,
        column: usize,
        held: CsvCells,
        limit: usize,
        then: impl FnOnce(Cell<'_>) -> T,
    ) -> anyhow::Result<T> {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let mut take = |bytes: &[u8]| {
            if text.len() < limit {
                text.extend_from_slice(bytes);
            }
            Ok(())
        };
        let start = self.begin_cell(column)?;
        match (start, held) {
            (Start::Null, _) => {}
            (Start::String, CsvCells::Value) => {
                self.string(|character| take(character.encode_utf8(&mut [0; 4]).as_bytes()))?;
            }
            (Start::Other, CsvCells::Value) | (_, CsvCells::Json) => self.token(|byte| take(&[byte]))?,
        }
        let shown = String::from_utf8_lossy(&text);
        let result = then(match (start, held) {
            (Start::Null, _) => Cell::Null,
            (_, CsvCells::Json) => Cell::Token(&shown),
            (Start::Other, CsvCells::Value) => Cell::Bare(&shown),
            // Only days and moments are written otherwise than other texts.
            (_, CsvCells::Value) => Cell::Plain(&shown),
        });
        self.scratch = text;
        Ok(result)
    }

    /// Ends a row after its last cell.
    pub(crate) fn end_row(&mut self) -> anyhow::Result<()> {
        ensure!(self.input.take(b"}")?, "the JSON row has more than the columns of the manifest");
        Ok(())
    }

    /// Passes the contents of a string to `each`, character by character.
    pub(crate) fn string(&mut self, mut each: impl FnMut(char) -> anyhow::Result<()>) -> anyhow::Result<()> {
        ensure!(self.input.next()? == Some(b'"'), "the JSON value is not a string");
        while let Some(character) = self.character(&mut |_| Ok(()))? {
            each(character)?;
        }
        Ok(())
    }

    /// Passes the raw bytes of any value to `each`. The value may hold no white space outside of strings.
    pub(crate) fn token(&mut self, mut each: impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let each = &mut each;
        // Closing brackets of the open arrays and objects.
        let mut open = Vec::new();
        loop {
            let mut is_whole = true;
            match self.input.peek()? {
                Some(bracket @ (b'{' | b'[')) => {
                    self.take_any(each)?;
                    let close = bracket + 2;
                    if self.input.peek()? == Some(close) {
                        self.take_any(each)?;
                    } else {
                        ensure!(open.len() < MAX_DEPTH, "the JSON value is nested deeper than {MAX_DEPTH}");
                        open.push(close);
                        is_whole = false;
                    }
                }
                Some(b'"') => self.string_token(each)?,
                Some(b'-' | b'0'..=b'9') => self.number(each)?,
                Some(b't') => self.expect(b"true", each)?,
                Some(b'f') => self.expect(b"false", each)?,
                Some(b'n') => self.expect(b"null", each)?,
                byte => return Err(unexpected(byte)),
            }
            while is_whole {
                let Some(&close) = open.last() else { return Ok(()) };
                match self.input.peek()? {
                    Some(b',') => is_whole = false,
                    Some(byte) if byte == close => drop(open.pop()),
                    byte => return Err(unexpected(byte)),
                }
                self.take_any(each)?;
            }
            if open.last() == Some(&b'}') {
                self.string_token(each)?;
                self.expect(b":", each)?;
            }
        }
    }

    /// Returns the file, to be digested to its end.
    pub(crate) fn into_inner(self) -> EntryContents<'a, 'f> {
        self.input
    }

    fn string_token(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.expect(b"\"", each)?;
        while self.character(each)?.is_some() {}
        Ok(())
    }

    fn number(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if self.input.peek()? == Some(b'-') {
            self.take_any(each)?;
        }
        let starts_with_zero = self.input.peek()? == Some(b'0');
        let digits = self.digits(each)?;
        ensure!(!starts_with_zero || digits == 1, "the JSON number starts with a zero");
        if self.input.peek()? == Some(b'.') {
            self.take_any(each)?;
            self.digits(each)?;
        }
        if matches!(self.input.peek()?, Some(b'e' | b'E')) {
            self.take_any(each)?;
            if matches!(self.input.peek()?, Some(b'+' | b'-')) {
                self.take_any(each)?;
            }
            self.digits(each)?;
        }
        Ok(())
    }

    fn digits(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<usize> {
        let mut digits = 0;
        while self.input.peek()?.is_some_and(|byte| byte.is_ascii_digit()) {
            self.take_any(each)?;
            digits += 1;
        }
        ensure!(digits > 0, "the JSON number lacks digits");
        Ok(digits)
    }

    /// Consumes the next byte, whatever it is.
    fn take_any(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<u8> {
        let Some(byte) = self.input.next()? else { bail!("the JSON ends within a value") };
        each(byte)?;
        Ok(byte)
    }

    fn expect(
        &mut self,
        expected: &[u8],
        each: &mut impl FnMut(u8) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for &wanted in expected {
            let found = self.input.peek()?;
            if found != Some(wanted) {
                return Err(unexpected(found));
            }
            self.take_any(each)?;
        }
        Ok(())
    }

    /// Returns the next character of a string, or `None` at its end, which is consumed too.
    fn character(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<Option<char>> {
        let (first, length) = match self.take_any(each)? {
            b'"' => return Ok(None),
            b'\\' => return self.escape(each).map(Some),
            0..b' ' => bail!("the JSON string holds a control character"),
            byte @ b' '..0x80 => return Ok(Some(byte.into())),
            first @ ..0xE0 => (first, 2),
            first @ ..0xF0 => (first, 3),
            first => (first, 4),
        };
        let mut utf8 = [first, 0, 0, 0];
        for byte in &mut utf8[1..length] {
            *byte = self.take_any(each)?;
        }
        match std::str::from_utf8(&utf8[..length]) {
            Ok(text) => Ok(text.chars().next()),
            Err(_) => bail!("the JSON string is not UTF-8"),
        }
    }

    fn escape(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<char> {
        Ok(match self.take_any(each)? {
            byte @ (b'"' | b'\\' | b'/') => byte.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode(each)?,
            _ => bail!("the JSON escape is unknown"),
        })
    }

    fn unicode(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<char> {
        let alone = "there is a lone half of a character";
        let unit = self.hex4(each)?;
        let code = if (0xD800..0xDC00).contains(&unit) {
            self.expect(b"\\u", each).context(alone)?;
            let low = self.hex4(each)?;
            ensure!((0xDC00..0xE000).contains(&low), alone);
            0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        } else {
            unit
        };
        char::from_u32(code).context(alone)
    }

    fn hex4(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.take_any(each)?).to_digit(16);
            code = code << 4 | digit.context("the JSON escape is unknown")?;
        }
        Ok(code)
    }
}

/// Returns the error for a byte that a strict reader would refuse.
fn unexpected(byte: Option<u8>) -> anyhow::Error {
    anyhow!(match byte {
        None => "the JSON ends within a value",
        Some(b' ' | b'\t' | b'\r' | b'\n') => "the JSON value holds white space",
        Some(_) => "the JSON value is not readable",
    })
}
