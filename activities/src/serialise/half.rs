//! Half characters in JSON: `\ud800` to `\udfff` without the other half. PostgreSQL keeps them in a `json` value, and
//! strict readers refuse them.
//!
//! A half is written as the six characters of its escape, by doubling the backslashes before it. The backslashes before
//! ordinary text that looks like a half are doubled too, so that the value can be read back exactly. Afterwards a half
//! follows an odd number of backslashes, and ordinary text an even number.

use std::borrow::Cow;

/// Returns the JSON token with its half characters escaped, or the token itself if it has none.
pub(super) fn escape_halves(token: &str) -> Cow<'_, str> {
    let bytes = token.as_bytes();
    let mut out = String::new();
    // The bytes before this position are in `out`.
    let mut done = 0;
    // The start of the run of backslashes, as text, that ends at `at`.
    let mut run = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
        if found > 0 {
            run = at + found;
        }
        at += found;
        let unit = Unit::of(&bytes[at + 1..]);
        let end = (at + unit.length()).min(bytes.len());
        let doubled = match unit {
            Unit::Half => run..at,
            Unit::Backslash(_) if surrogate(&bytes[end..]).is_some() => run..end,
            Unit::Backslash(_) => {
                at = end;
                continue;
            }
            Unit::Other(_) => run..run,
        };
        if !doubled.is_empty() || unit == Unit::Half {
            out.push_str(&token[done..doubled.end]);
            out.push_str(&token[doubled.clone()]);
            done = doubled.end;
        }
        if unit == Unit::Half {
            out.push('\\');
        }
        at = end;
        run = end;
    }
    if out.is_empty() {
        return Cow::Borrowed(token);
    }
    out.push_str(&token[done..]);
    Cow::Owned(out)
}

/// The escape that a backslash begins, and its length in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Backslash(usize),
    Half,
    Other(usize),
}

impl Unit {
    /// Reads the bytes after a backslash.
    fn of(rest: &[u8]) -> Self {
        match (rest, surrogate(rest)) {
            ([b'\\', ..], _) => Self::Backslash(2),
            ([b'u', b'0', b'0', b'5', b'c' | b'C', ..], _) => Self::Backslash(6),
            (_, Some(first)) if is_pair(first, &rest[5..]) => Self::Other(12),
            (_, Some(_)) => Self::Half,
            _ => Self::Other(2),
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Half => 6,
            Self::Backslash(length) | Self::Other(length) => length,
        }
    }
}

/// Reads `u` and four digits of a half character.
fn surrogate(bytes: &[u8]) -> Option<u32> {
    let [b'u', b'd' | b'D', digits @ ..] = bytes.get(..5)? else { return None };
    let number =
        digits.iter().try_fold(0xD, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))?;
    (0xD800..=0xDFFF).contains(&number).then_some(number)
}

/// Returns whether a first half is followed by a second one.
fn is_pair(first: u32, rest: &[u8]) -> bool {
    let second = rest.strip_prefix(b"\\").and_then(surrogate);
    first < 0xDC00 && second.is_some_and(|second| second >= 0xDC00)
}

/// Finds the escaped halves in a JSON token, byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct Halves(Come);

/// The part of an escaped half that was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Come {
    #[default]
    Nothing,
    /// A backslash that begins an escape.
    Escape,
    /// The given number of characters of `u005c` after it.
    Code(u8),
    /// A backslash of the text, and the given number of characters of `ud800` after it.
    Backslash(u8),
}

impl Halves {
    /// Returns whether the next byte completes an escaped half, or text that looks like one.
    pub fn ends_with(&mut self, next: u8) -> bool {
        self.0 = match (self.0, next) {
            (Come::Escape, b'\\') | (Come::Code(4), b'c' | b'C') => Come::Backslash(0),
            (_, b'\\') => Come::Escape,
            (Come::Escape, b'u') => Come::Code(1),
            (Come::Code(come @ (1 | 2)), b'0') | (Come::Code(come @ 3), b'5') => Come::Code(come + 1),
            (Come::Backslash(come @ 0), b'u')
            | (Come::Backslash(come @ 1), b'd' | b'D')
            | (Come::Backslash(come @ 2), b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                Come::Backslash(come + 1)
            }
            (Come::Backslash(come @ (3 | 4)), digit) if digit.is_ascii_hexdigit() => {
                Come::Backslash(come + 1)
            }
            _ => Come::Nothing,
        };
        self.0 == Come::Backslash(5)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a token back as README.txt describes: removes every second backslash before a half or a text that looks
    /// like one.
    fn original(escaped: &str) -> String {
        let mut units: Vec<&str> = Vec::new();
        let mut out = String::new();
        let mut at = 0;
        while at < escaped.len() {
            let rest = &escaped[at..];
            let unit = rest.strip_prefix('\\').map(|rest| Unit::of(rest.as_bytes()));
            if let Some(Unit::Backslash(length)) = unit {
                units.push(&rest[..length]);
                at += length;
                continue;
            }
            if surrogate(rest.as_bytes()).is_some() {
                // The last backslash of an odd number belongs to the half.
                let kept = units.len() / 2;
                out.push_str(&units[..kept].concat());
                out.push_str(if units.len() % 2 == 1 { "\\" } else { "" });
            } else {
                out.push_str(&units.concat());
            }
            units.clear();
            let length = unit.map_or_else(|| rest.chars().next().unwrap().len_utf8(), Unit::length);
            out.push_str(&rest[..length]);
            at += length;
        }
        out + &units.concat()
    }

    fn token() -> impl Strategy<Value = String> {
        let pieces = vec![
            "\\ud800",
            "\\uDFFF",
            "\\udc00",
            "\\uDBFF",
            "\\\\",
            "\\n",
            "\\\"",
            "\\u0041",
            "\\u005c",
            "\\u005C",
            "\\u0075d800",
            "\\ud7ff",
            "\\ue000",
            "ud800",
            "uD83D",
            "u",
            "d",
            "8",
            "a",
            "漢",
        ];
        let contents = proptest::collection::vec(proptest::sample::select(pieces), 0..12);
        contents.prop_map(|pieces| format!("[\"{}\",1]", pieces.concat()))
    }

    proptest! {
        #[test]
        fn a_strict_reader_takes_every_token_and_the_original_can_be_had_back(token in token()) {
            let escaped = escape_halves(&token);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&escaped).is_ok(), "{}", escaped);
            prop_assert_eq!(original(&escaped), token);
        }

        #[test]
        fn what_was_escaped_is_found_again(token in token()) {
            let escaped = escape_halves(&token);
            let mut halves = Halves::default();
            let found = escaped.bytes().fold(false, |any, byte| any | halves.ends_with(byte));
            prop_assert_eq!(found, *escaped != token);
        }
    }

    #[test]
    fn halves_are_escaped_and_whole_characters_are_not() {
        for (token, expected) in [
            (r#"{"a":"\ud800"}"#, r#"{"a":"\\ud800"}"#),
            (r#"{"\uDfFf":1}"#, r#"{"\\uDfFf":1}"#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\\ud83d\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\\ude00\\ud83d""#),
            (r#""\ud83d\\ude00""#, r#""\\ud83d\\\\ude00""#),
            (r#""\\ud800""#, r#""\\\\ud800""#),
            (r#""\\\ud800""#, r#""\\\\\\ud800""#),
            (r#""ud800 \u00e9 \\ \" \ud7ff""#, r#""ud800 \u00e9 \\ \" \ud7ff""#),
            (r#""\u005cud800 \\\u005Cud800""#, r#""\u005c\u005cud800 \\\u005C\\\u005Cud800""#),
        ] {
            assert_eq!(escape_halves(token), expected, "{token}");
        }
    }
}
