//! Decodes one value from PostgreSQL's binary wire format.

use std::borrow::Cow;

use super::{
    ValueKind,
    array::push_array,
    half::escape_halves,
    json_token::push_compacted,
    network::push_inet,
    number::{push_float4, push_float8, push_int, push_numeric},
    time::{push_date, push_interval, push_time, push_timestamp},
};

/// A value that no encoder can represent. It carries no data, because the value must not reach a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A decoded value, borrowed from the row or from a scratch buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'v> {
    /// SQL NULL, or a JSON `null`.
    Null,
    /// A number or a boolean, as JSON writes it.
    Bare(&'v str),
    /// The contents of a JSON string, without any character that either format must quote.
    Plain(&'v str),
    /// The contents of a JSON string.
    Text(&'v str),
    /// A JSON token, without white space between its parts.
    Token(&'v str),
    /// A [`Token`](Self::Token) in which half characters were escaped.
    EscapedToken(&'v str),
    /// A large JSON token, still with the white space between its parts.
    LargeToken(&'v str),
    /// A large `bytea`. Its text is `\\x` and two digits for each byte, and no digit needs quoting.
    Hex(&'v [u8]),
}

/// From this size on, the text of a value is made in pieces while it is written, and never as a whole.
const LARGE_VALUE: usize = 1 << 20;

/// Number of bytes of a large `bytea` that become text at a time.
const HEX_BYTES: usize = 4 << 10;

/// Returns the length of the text of a `bytea`.
pub(super) fn hex_length(bytes: &[u8]) -> usize {
    2 + 2 * bytes.len()
}

/// Writes the digits of a `bytea`, without the prefix.
pub(super) fn write_hex(bytes: &[u8], out: &mut impl std::io::Write) -> std::io::Result<()> {
    let mut text = [0; 2 * HEX_BYTES];
    for piece in bytes.chunks(HEX_BYTES) {
        let text = &mut text[..2 * piece.len()];
        hex::encode_to_slice(piece, text).map_err(std::io::Error::other)?;
        out.write_all(text)?;
    }
    Ok(())
}

impl<'v> Cell<'v> {
    /// Returns the text of the cell, unless it is NULL or a large `bytea`.
    pub fn text(&self) -> Option<&'v str> {
        match *self {
            Self::Null | Self::Hex(_) => None,
            Self::Bare(text)
            | Self::Plain(text)
            | Self::Text(text)
            | Self::Token(text)
            | Self::EscapedToken(text)
            | Self::LargeToken(text) => Some(text),
        }
    }
}

/// How JSON writes a value that was appended to a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bare,
    Quoted,
}

/// Decodes `bytes`. New text is appended to `scratch`, which must be empty.
pub fn decode<'v>(
    kind: &ValueKind,
    bytes: &'v [u8],
    scratch: &'v mut String,
) -> Result<Cell<'v>, Unreadable> {
    match kind {
        ValueKind::Text => Ok(Cell::Text(utf8(bytes)?)),
        ValueKind::Json => match escape_halves(utf8(bytes)?) {
            Cow::Borrowed(text) => Ok(token(text, scratch)),
            // Such values are rare, so even a large one may be made as a whole.
            Cow::Owned(text) => {
                push_compacted(&text, scratch);
                Ok(Cell::EscapedToken(scratch))
            }
        },
        ValueKind::Jsonb => Ok(token(jsonb(bytes)?, scratch)),
        ValueKind::Array(element) => {
            let is_escaped = push_array(element, bytes, scratch)?;
            Ok(if is_escaped { Cell::EscapedToken(scratch) } else { Cell::Token(scratch) })
        }
        ValueKind::Bytea if bytes.len() >= LARGE_VALUE => Ok(Cell::Hex(bytes)),
        _ => match push(kind, bytes, scratch)? {
            Shape::Bare => Ok(Cell::Bare(scratch)),
            // Of these kinds only `bytea` has a character that JSON escapes: it begins with a backslash.
            Shape::Quoted if *kind == ValueKind::Bytea => Ok(Cell::Text(scratch)),
            Shape::Quoted => Ok(Cell::Plain(scratch)),
        },
    }
}

/// Appends the text of a value of a base type.
pub(super) fn push(kind: &ValueKind, bytes: &[u8], out: &mut String) -> Result<Shape, Unreadable> {
    match kind {
        ValueKind::Bool => {
            let text = match fixed::<1>(bytes)? {
                [0] => "false",
                [1] => "true",
                _ => return Err(Unreadable),
            };
            out.push_str(text);
            Ok(Shape::Bare)
        }
        ValueKind::Int2 => Ok(push_int(i16::from_be_bytes(fixed(bytes)?).into(), out)),
        ValueKind::Int4 => Ok(push_int(i32::from_be_bytes(fixed(bytes)?).into(), out)),
        ValueKind::Int8 => Ok(push_int(i64::from_be_bytes(fixed(bytes)?), out)),
        ValueKind::Float4 => Ok(push_float4(f32::from_be_bytes(fixed(bytes)?), out)),
        ValueKind::Float8 => Ok(push_float8(f64::from_be_bytes(fixed(bytes)?), out)),
        ValueKind::Numeric => push_numeric(bytes, out),
        ValueKind::Uuid => {
            let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
            out.push_str(uuid::Uuid::from_bytes(fixed(bytes)?).hyphenated().encode_lower(&mut text));
            Ok(Shape::Quoted)
        }
        ValueKind::Date => push_date(i32::from_be_bytes(fixed(bytes)?), out),
        ValueKind::Time => push_time(i64::from_be_bytes(fixed(bytes)?), out),
        ValueKind::Timestamp => push_timestamp(i64::from_be_bytes(fixed(bytes)?), "", out),
        // The read session's time zone is UTC.
        ValueKind::Timestamptz => push_timestamp(i64::from_be_bytes(fixed(bytes)?), "+00:00", out),
        ValueKind::Interval => push_interval(fixed(bytes)?, out),
        ValueKind::Bytea => {
            push_bytea(bytes, out);
            Ok(Shape::Quoted)
        }
        ValueKind::Inet => push_inet(bytes, out),
        ValueKind::Text | ValueKind::Json | ValueKind::Jsonb | ValueKind::Array(_) => Err(Unreadable),
    }
}

/// Returns the bytes as an array, if they have exactly its length.
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable)
}

/// The connection's encoding is UTF-8, but a database in `SQL_ASCII` sends any bytes that were stored.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable)
}

/// On the wire, `jsonb` is a version byte followed by its text.
pub(super) fn jsonb(bytes: &[u8]) -> Result<&str, Unreadable> {
    match bytes {
        [1, text @ ..] => utf8(text),
        _ => Err(Unreadable),
    }
}

fn token<'v>(text: &'v str, scratch: &'v mut String) -> Cell<'v> {
    let token = text.trim_matches([' ', '\t', '\n', '\r']);
    if token == "null" {
        Cell::Null
    } else if token.len() >= LARGE_VALUE {
        Cell::LargeToken(token)
    } else {
        push_compacted(token, scratch);
        Cell::Token(scratch)
    }
}

/// `bytea_output = hex`
fn push_bytea(bytes: &[u8], out: &mut String) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.reserve(2 + 2 * bytes.len());
    out.push_str("\\x");
    for byte in bytes {
        out.push(HEX[usize::from(byte >> 4)].into());
        out.push(HEX[usize::from(byte & 15)].into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: ValueKind, bytes: &[u8]) -> Option<String> {
        let mut scratch = String::new();
        let cell = decode(&kind, bytes, &mut scratch).ok()?;
        Some(format!("{cell:?}"))
    }

    #[test]
    fn a_json_null_counts_as_null() {
        assert_eq!(text(ValueKind::Json, b" null\n").unwrap(), "Null");
        assert_eq!(text(ValueKind::Jsonb, b"\x01null").unwrap(), "Null");
        assert_eq!(text(ValueKind::Jsonb, b"\x01\"null\"").unwrap(), "Token(\"\\\"null\\\"\")");
    }

    #[test]
    fn a_small_token_loses_its_white_space_here_and_a_large_one_when_it_is_written() {
        assert_eq!(text(ValueKind::Jsonb, b"\x01[1, 2]").unwrap(), "Token(\"[1,2]\")");
        let large = format!("[1, \"{}\"]", "a".repeat(LARGE_VALUE));
        let mut scratch = String::new();
        let cell = decode(&ValueKind::Json, large.as_bytes(), &mut scratch);
        assert_eq!(cell, Ok(Cell::LargeToken(&large)));
    }

    #[test]
    fn a_large_bytea_is_written_as_a_small_one_is() {
        for length in [HEX_BYTES - 1, HEX_BYTES, 3 * HEX_BYTES + 1] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut whole = String::new();
            push_bytea(&bytes, &mut whole);
            let mut pieces = b"\\x".to_vec();
            write_hex(&bytes, &mut pieces).unwrap();
            assert_eq!(whole.as_bytes(), pieces);
            assert_eq!(whole.len(), hex_length(&bytes));
        }
        let large = vec![7; LARGE_VALUE];
        assert_eq!(decode(&ValueKind::Bytea, &large, &mut String::new()), Ok(Cell::Hex(&large)));
    }

    #[test]
    fn bytes_of_the_wrong_length_or_version_are_unreadable_and_never_panic() {
        for kind in
            [ValueKind::Bool, ValueKind::Int4, ValueKind::Float8, ValueKind::Uuid, ValueKind::Interval]
        {
            for length in [0, 3, 5, 17, 33] {
                assert_eq!(text(kind.clone(), &vec![0; length]), None, "{kind:?} of {length} bytes");
            }
        }
        assert_eq!(text(ValueKind::Jsonb, b"\x02{}"), None);
        assert_eq!(text(ValueKind::Jsonb, b""), None);
        assert_eq!(text(ValueKind::Bool, b"\x02"), None);
        assert_eq!(text(ValueKind::Text, b"\xc3"), None);
    }
}
