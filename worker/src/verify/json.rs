//! Reads our JSON files cell by cell, in the one layout that they have.

use anyhow::{bail, ensure};

use super::entry::Contents;

/// A JSON file being read; keeps nothing of a cell, however long it is.
pub(super) struct JsonRows<'a, 'f> {
    input: Contents<'a, 'f>,
    /// What stands before the value of each column.
    keys: Vec<Vec<u8>>,
    any: bool,
}

/// What a cell begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Null,
    String,
    Other,
}

impl<'a, 'f> JsonRows<'a, 'f> {
    pub(super) fn begin<'n>(
        mut input: Contents<'a, 'f>,
        columns: impl Iterator<Item = &'n str>,
    ) -> anyhow::Result<Self> {
        ensure!(input.take(b"[")?, "it is no JSON array");
        let keys = columns.enumerate().map(|(index, name)| {
            let before = if index == 0 { '{' } else { ',' };
            Ok(format!("{before}{}:", serde_json::to_string(name)?).into_bytes())
        });
        Ok(Self { input, keys: keys.collect::<anyhow::Result<_>>()?, any: false })
    }

    /// Goes to the next row; says whether there is one.
    pub(super) fn next_row(&mut self) -> anyhow::Result<bool> {
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
        ensure!(
            self.input.take(if first { b"\n" } else { b",\n" })?,
            "a JSON row does not stand on a line of its own"
        );
        Ok(true)
    }

    /// Goes to the value of a column.
    pub(super) fn begin_cell(&mut self, column: usize) -> anyhow::Result<Start> {
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

    /// Ends a row after its last cell.
    pub(super) fn end_row(&mut self) -> anyhow::Result<()> {
        ensure!(self.input.take(b"}")?, "the JSON row has more than the columns of the manifest");
        Ok(())
    }

    /// Gives the contents of a string, UTF-8 byte by UTF-8 byte.
    pub(super) fn string(&mut self, mut each: impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<()> {
        ensure!(self.input.next()? == Some(b'"'), "the JSON value is not a string");
        loop {
            match self.input.next()? {
                Some(b'"') => return Ok(()),
                Some(b'\\') => {
                    let mut utf8 = [0; 4];
                    for byte in self.escape()?.encode_utf8(&mut utf8).bytes() {
                        each(byte)?;
                    }
                }
                Some(byte) if byte >= b' ' => each(byte)?,
                _ => bail!("the JSON string is not readable"),
            }
        }
    }

    /// Gives the bytes of any value as they stand; it may hold no white space outside of strings.
    pub(super) fn token(&mut self, mut each: impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut depth = 0u64;
        loop {
            let Some(byte) = self.input.peek()? else { bail!("the JSON ends within a value") };
            match byte {
                b',' if depth == 0 => return Ok(()),
                b'}' | b']' if depth == 0 => return Ok(()),
                b'}' | b']' => depth -= 1,
                b'{' | b'[' => depth += 1,
                0..=b' ' => bail!("the JSON value holds white space"),
                b'"' => {
                    self.string_token(&mut each)?;
                    continue;
                }
                _ => {}
            }
            self.input.next()?;
            each(byte)?;
        }
    }

    /// Gives the file back, to be digested to its end.
    pub(super) fn into_inner(self) -> Contents<'a, 'f> {
        self.input
    }

    fn string_token(&mut self, each: &mut impl FnMut(u8) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut escaped = false;
        let mut first = true;
        loop {
            let Some(byte) = self.input.next()? else { bail!("the JSON ends within a string") };
            ensure!(byte >= b' ', "the JSON string is not readable");
            each(byte)?;
            if byte == b'"' && !escaped && !first {
                return Ok(());
            }
            escaped = byte == b'\\' && !escaped;
            first = false;
        }
    }

    fn escape(&mut self) -> anyhow::Result<char> {
        Ok(match self.input.next()? {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte.into(),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => self.unicode()?,
            _ => bail!("the JSON escape is unknown"),
        })
    }

    fn unicode(&mut self) -> anyhow::Result<char> {
        let unit = self.hex4()?;
        let code = if (0xD800..0xDC00).contains(&unit) {
            ensure!(self.input.take(b"\\u")?, "half a character stands alone");
            let low = self.hex4()?;
            ensure!((0xDC00..0xE000).contains(&low), "half a character stands alone");
            0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        } else {
            unit
        };
        match char::from_u32(code) {
            Some(character) => Ok(character),
            None => bail!("half a character stands alone"),
        }
    }

    fn hex4(&mut self) -> anyhow::Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.input.next()?.and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { bail!("the JSON escape is unknown") };
            code = code << 4 | digit;
        }
        Ok(code)
    }
}
