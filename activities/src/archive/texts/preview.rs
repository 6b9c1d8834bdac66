//! The first rows of a JSON file, as the page shows them. Only the part of a value that is shown is held in memory.

use std::io::{self, BufRead};

use memchr::memchr2;

/// The page shows up to this many rows of each entity.
const ROWS: usize = 10;
/// After this many bytes of a JSON file, no further row is read for the page. The first row is always read, even if it is
/// longer.
const BYTES: usize = 128 << 10;
/// The page shows up to this many characters of a value.
pub(super) const CHARACTERS: usize = 120;

/// A value that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::archive) struct Shown {
    pub(super) text: Option<String>,
    pub(super) cut: bool,
}

/// Reads the first rows of a JSON file that this program wrote: one row a line, without blanks.
pub(in crate::archive) fn rows(input: &mut dyn BufRead) -> io::Result<Vec<Vec<Shown>>> {
    let mut json = Scanner { input, read: 0 };
    let mut rows = Vec::new();
    // The array, and the line feed or comma before each row.
    while rows.len() < ROWS && (rows.is_empty() || json.read < BYTES) {
        match json.next()? {
            Some(b'{') => rows.push(json.row()?),
            Some(b'[' | b',' | b'\n') => {}
            Some(b']') | None => break,
            Some(_) => return Err(malformed()),
        }
    }
    Ok(rows)
}

struct Scanner<'r> {
    input: &'r mut dyn BufRead,
    read: usize,
}

impl Scanner<'_> {
    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.input.fill_buf()?.first().copied();
        if byte.is_some() {
            self.input.consume(1);
            self.read += 1;
        }
        Ok(byte)
    }

    fn some(&mut self) -> io::Result<u8> {
        self.next()?.ok_or_else(malformed)
    }

    /// Reads a row after its brace, to its end.
    fn row(&mut self) -> io::Result<Vec<Shown>> {
        let mut row = Vec::new();
        loop {
            match self.some()? {
                b'"' => self.skip_string()?,
                b'}' => return Ok(row),
                _ => return Err(malformed()),
            }
            if self.some()? != b':' {
                return Err(malformed());
            }
            let (shown, after) = match self.some()? {
                b'"' => (self.string()?, self.some()?),
                first => self.token(first)?,
            };
            row.push(shown);
            match after {
                b',' => {}
                b'}' => return Ok(row),
                _ => return Err(malformed()),
            }
        }
    }

    /// Skips a string after its first quote.
    fn skip_string(&mut self) -> io::Result<()> {
        loop {
            let block = self.input.fill_buf()?;
            if block.is_empty() {
                return Err(malformed());
            }
            let Some(at) = memchr2(b'"', b'\\', block) else {
                let length = block.len();
                self.input.consume(length);
                self.read += length;
                continue;
            };
            let is_end = block[at] == b'"';
            self.input.consume(at + 1);
            self.read += at + 1;
            if is_end {
                return Ok(());
            }
            self.some()?;
        }
    }

    /// Reads a string after its first quote.
    fn string(&mut self) -> io::Result<Shown> {
        let mut token = vec![b'"'];
        let mut units = 0;
        loop {
            let byte = self.some()?;
            // Two units for a character beyond the basic plane that is escaped: then the last one is never the first half.
            if byte == b'"' || (units > 2 * CHARACTERS && is_character(byte) && !ends_with_half(&token)) {
                if byte == b'\\' {
                    self.some()?;
                }
                if byte != b'"' {
                    self.skip_string()?;
                }
                token.push(b'"');
                let text: String = serde_json::from_slice(&token)?;
                return Ok(shown(&text));
            }
            token.push(byte);
            units += usize::from(is_character(byte));
            if byte == b'\\' {
                let escape = self.some()?;
                token.push(escape);
                for _ in 0..if escape == b'u' { 4 } else { 0 } {
                    let digit = self.some()?;
                    token.push(digit);
                }
            }
        }
    }

    /// Reads a value that is no string, and the byte after it.
    fn token(&mut self, first: u8) -> io::Result<(Shown, u8)> {
        let mut kept = Vec::new();
        let (mut characters, mut depth, mut byte) = (0, 0_usize, first);
        loop {
            match byte {
                b',' | b'}' if depth == 0 => break,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            characters += usize::from(is_character(byte));
            if characters <= CHARACTERS + 1 {
                kept.push(byte);
            }
            if byte == b'"' {
                characters = self.keep_string(&mut kept, characters)?;
            }
            byte = self.some()?;
        }
        let text = String::from_utf8(kept).map_err(|_| malformed())?;
        if text == "null" {
            return Ok((Shown { text: None, cut: false }, byte));
        }
        Ok((shown(&text), byte))
    }

    /// Keeps a string within a value, after its first quote, as far as it is shown.
    fn keep_string(&mut self, kept: &mut Vec<u8>, mut characters: usize) -> io::Result<usize> {
        loop {
            if characters > CHARACTERS + 1 {
                self.skip_string()?;
                return Ok(characters);
            }
            let byte = self.some()?;
            characters += usize::from(is_character(byte));
            if characters <= CHARACTERS + 1 {
                kept.push(byte);
            }
            match byte {
                b'"' => return Ok(characters),
                b'\\' => {
                    let escaped = self.some()?;
                    characters += 1;
                    if characters <= CHARACTERS + 1 {
                        kept.push(escaped);
                    }
                }
                // A character that is longer than a byte is kept whole, or not begun.
                _ => {}
            }
        }
    }
}

/// Cuts a text to what is shown.
fn shown(text: &str) -> Shown {
    let end = text.char_indices().nth(CHARACTERS).map(|(at, _)| at);
    Shown { text: Some(text[..end.unwrap_or(text.len())].to_owned()), cut: end.is_some() }
}

/// Returns whether a byte of UTF-8 begins a character.
fn is_character(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

/// Returns whether a JSON string ends with the escaped first half of a character.
fn ends_with_half(token: &[u8]) -> bool {
    let Some(last) = token.len().checked_sub(6).map(|at| &token[at..]) else { return false };
    last.starts_with(b"\\u")
        && matches!(last[2], b'd' | b'D')
        && matches!(last[3], b'8' | b'9' | b'a' | b'b' | b'A' | b'B')
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a JSON file of the archive is not as it was written")
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read as _};

    use super::*;

    fn whole(text: &str) -> Shown {
        Shown { text: Some(text.to_owned()), cut: false }
    }

    fn read(json: &str) -> Vec<Vec<Shown>> {
        // Every boundary of a block falls somewhere.
        let rows = [1, 2, 3, 7, 4096]
            .map(|size| rows(&mut BufReader::with_capacity(size, json.as_bytes())).unwrap());
        assert!(rows.iter().all(|other| *other == rows[0]));
        rows[0].clone()
    }

    fn value(json: &str) -> Shown {
        let rows = read(&format!("[\n{{\"a\\\"\":{json},\"b\":1}}\n]\n"));
        assert_eq!(rows[0][1], whole("1"), "{json}");
        rows[0][0].clone()
    }

    #[test]
    fn a_value_is_shown_without_quotes_and_cut_between_characters() {
        assert_eq!(value("null"), Shown { text: None, cut: false });
        for (json, text) in [
            ("\"\"", ""),
            ("\"null\"", "null"),
            ("9007199254740993", "9007199254740993"),
            ("[\"a,}\\\"\",1]", "[\"a,}\\\"\",1]"),
            ("{}", "{}"),
            ("true", "true"),
            ("\"a\\n\\\\\\u00fc\\\"\"", "a\n\\ü\""),
        ] {
            assert_eq!(value(json), whole(text), "{json}");
        }
        for one in ["ü", "\u{1F600}", "a"] {
            let long = one.repeat(CHARACTERS);
            assert_eq!(value(&format!("\"{long}\"")), whole(&long));
            for more in [one, "\\\"", "\\\\", "x\\u00fcy"] {
                let cut = Shown { text: Some(long.clone()), cut: true };
                assert_eq!(value(&format!("\"{long}{more}\"")), cut, "{more}");
                let many = one.repeat(3 * CHARACTERS);
                assert_eq!(value(&format!("\"{many}{more}\"")), cut, "{more}");
            }
        }
        let pairs = "\\ud83d\\ude00".repeat(3 * CHARACTERS);
        for before in ["", "x"] {
            let shown = value(&format!("\"{before}{pairs}\"")).text.unwrap();
            assert_eq!(shown.chars().count(), CHARACTERS);
            assert!(shown.ends_with('\u{1F600}'));
        }
        for token in ["[\"üü\"]", "[\"\\\"\"]", "[[1]]"] {
            let token = format!("[{}1]", format!("{token},").repeat(100));
            let text: String = token.chars().take(CHARACTERS).collect();
            assert_eq!(value(&token), Shown { text: Some(text), cut: true }, "{token}");
        }
    }

    #[test]
    fn no_row_is_read_after_the_bound_but_the_first_is_at_any_length_and_depth() {
        assert!(read("[]\n").is_empty() && read("[\n]\n").is_empty());
        let rows_of = |row: &str, count: usize| read(&format!("[\n{}\n]\n", vec![row; count].join(",\n")));
        assert_eq!(rows_of("{\"a\":1}", 3), vec![vec![whole("1")]; 3]);
        assert_eq!(rows_of("{\"a\":1}", 30).len(), ROWS);
        assert_eq!(rows_of("{}", 2), vec![Vec::new(); 2]);
        let depth = 200_000;
        let deep = format!("{{\"deep\":{}1{},\"b\":2}}", "[".repeat(depth), "]".repeat(depth));
        let rows = rows_of(&deep, 3);
        assert_eq!(rows.len(), 1, "the next ones are beyond the bound");
        assert_eq!(rows[0][1], whole("2"));
        for broken in ["[\n{\"a\":", "[\n{\"a\" :1}", "x", "[\n{\"a\":\"\\ud800\"}\n]\n"] {
            super::rows(&mut broken.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_value_of_64_megabytes_takes_no_more_memory_than_a_small_one() {
        for (before, after) in
            [("[\n{\"a\":\"", "\"}\n]\n"), ("[\n{\"a\":[\"", "\"]}\n]\n"), ("[\n{\"a\":", "}\n]\n")]
        {
            let mut json = BufReader::new(
                before.as_bytes().chain(io::repeat(b'7').take(64 << 20)).chain(after.as_bytes()),
            );
            let mut read = Vec::new();
            let info = allocation_counter::measure(|| read = rows(&mut json).unwrap());
            assert!(read[0][0].cut);
            assert!(info.bytes_max < 16 << 10, "{} bytes", info.bytes_max);
        }
    }
}
