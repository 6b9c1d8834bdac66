//! JSON strings and tokens: escapes texts, and removes white space between the parts of a token.

use std::convert::Infallible;

/// The JSON escapes of the control characters.
const CONTROL: [&str; 32] = [
    "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007", "\\b", "\\t",
    "\\n", "\\u000b", "\\f", "\\r", "\\u000e", "\\u000f", "\\u0010", "\\u0011", "\\u0012", "\\u0013",
    "\\u0014", "\\u0015", "\\u0016", "\\u0017", "\\u0018", "\\u0019", "\\u001a", "\\u001b", "\\u001c",
    "\\u001d", "\\u001e", "\\u001f",
];

/// Appends a JSON string.
pub(super) fn push_quoted(text: &str, out: &mut String) {
    let Ok(()) = quoted::<Infallible>(text, |piece| {
        out.push_str(piece);
        Ok(())
    });
}

/// Appends a JSON token without the white space between its parts.
pub(super) fn push_compacted(token: &str, out: &mut String) {
    let Ok(()) = compacted::<Infallible>(token, |piece| {
        out.push_str(piece);
        Ok(())
    });
}

/// Emits a JSON string, escaped as PostgreSQL escapes it.
pub(super) fn quoted<E>(text: &str, mut emit: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    emit("\"")?;
    let mut rest = text;
    loop {
        let plain = plain_bytes(rest.as_bytes());
        if plain > 0 {
            emit(&rest[..plain])?;
        }
        let Some(&byte) = rest.as_bytes().get(plain) else { break };
        emit(match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            _ => CONTROL[usize::from(byte)],
        })?;
        rest = &rest[plain + 1..];
    }
    emit("\"")
}

/// Counts the bytes before the first one that a JSON string must escape.
fn plain_bytes(bytes: &[u8]) -> usize {
    const BLOCK: usize = 16;
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // Without an early exit inside a block, the compiler uses a few wide instructions.
    let blocks = bytes.chunks_exact(BLOCK);
    let plain =
        blocks.take_while(|block| !block.iter().fold(false, |any, &byte| any | is_special(byte))).count();
    let start = plain * BLOCK;
    let rest = &bytes[start..];
    start + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}

/// Emits a JSON token without the white space between its parts.
///
/// It does not change numbers, escapes and duplicate keys. It does not track depth, so no document is too deep for it.
pub(super) fn compacted<E>(token: &str, mut emit: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let bytes = token.as_bytes();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at + 1),
            b' ' | b'\t' | b'\n' | b'\r' => {
                if start < at {
                    emit(&token[start..at])?;
                }
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    if start < token.len() { emit(&token[start..]) } else { Ok(()) }
}

/// Returns the position after the closing quote of the string whose contents begin at `from`.
pub(super) fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..]) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_to_escape_is_found_wherever_it_stands() {
        for length in 0..40 {
            assert_eq!(plain_bytes(&vec![b'a'; length]), length);
            for at in 0..length {
                for special in [b'"', b'\\', b'\n', 0, 0x1f] {
                    let mut bytes = vec![b'\xc3'; length];
                    bytes[at] = special;
                    assert_eq!(plain_bytes(&bytes), at);
                }
            }
        }
    }

    fn compact(token: &str) -> String {
        let mut out = String::new();
        push_compacted(token, &mut out);
        out
    }

    #[test]
    fn white_space_goes_only_between_tokens() {
        assert_eq!(compact(" { \"a b\" :\t[ 1 ,\r\n 2.50e+3 ] } "), "{\"a b\":[1,2.50e+3]}");
        assert_eq!(compact(r#"{"a \" b": "\\", "a \" b" : 1}"#), r#"{"a \" b":"\\","a \" b":1}"#);
        assert_eq!(compact("\"broken \\"), "\"broken \\");
    }

    #[test]
    fn a_document_of_any_depth_is_compacted() {
        let deep = "[ ".repeat(200_000) + &"] ".repeat(200_000);
        assert_eq!(compact(&deep).len(), 400_000);
    }

    #[test]
    fn every_control_character_is_escaped_as_serde_reads_it() {
        let text: String = (0..0x90u8).map(char::from).chain("é😀\u{2028}".chars()).collect();
        let mut out = String::new();
        push_quoted(&text, &mut out);
        assert!(out.bytes().all(|byte| byte >= b' '));
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}
