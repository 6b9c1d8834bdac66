//! Decides where a text in CSV gets a `'`, so that no spreadsheet takes a part of it for a formula.
//!
//! The writer and the verifier share this one definition. A spreadsheet that separates at `;` or TAB does not see our
//! quotes and begins a new cell after each of them, and after a line break. A mark may be needed there too.

use std::convert::Infallible;

/// Decides, character by character, where marks go.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// There were only white space and control characters since the beginning or the last separator.
    at_start: bool,
}

impl Default for Marks {
    fn default() -> Self {
        Self { at_start: true }
    }
}

impl Marks {
    /// Returns whether a mark goes before the next character of the text.
    pub fn before(&mut self, next: char) -> bool {
        if u8::try_from(next).is_ok_and(is_separator) {
            self.at_start = true;
            return false;
        }
        if !self.at_start || next.is_whitespace() || next.is_control() {
            return false;
        }
        self.at_start = false;
        // A `'` is marked too, so that a reader can always remove one at each of these places.
        matches!(next, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\'')
    }
}

/// Returns whether a spreadsheet may begin a new cell after the byte, although the text is quoted.
fn is_separator(byte: u8) -> bool {
    // Without a branch, so that the compiler can test whole blocks.
    u8::from(byte == b';') | u8::from(byte == b'\t') | u8::from(byte == b'\r') | u8::from(byte == b'\n') != 0
}

/// Returns whether a text with this byte must be quoted: the byte is a separator or the quote.
pub(super) const fn is_quoted(byte: u8) -> bool {
    matches!(byte, b';' | b'\t' | b'\r' | b'\n' | b'"' | b',')
}

/// Returns the place of the mark in a text without a separator. Such a text has at most one.
pub(super) fn only_mark(text: &str) -> Option<usize> {
    let mut marks = Marks::default();
    for (at, next) in text.char_indices() {
        let is_marked = marks.before(next);
        if !marks.at_start {
            return is_marked.then_some(at);
        }
    }
    None
}

/// Emits the text in pieces. A mark goes before each piece except the first.
///
/// It skips from the first character of a cell straight to the next separator.
pub(super) fn split_at_marks<E>(text: &str, mut emit: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let mut marks = Marks::default();
    let mut rest = text;
    let mut at = 0;
    while let Some(next) = rest[at..].chars().next() {
        if marks.before(next) {
            emit(&rest[..at])?;
            rest = &rest[at..];
            at = 0;
        }
        at += if marks.at_start { next.len_utf8() } else { until_separator(&rest.as_bytes()[at..]) };
    }
    emit(rest)
}

/// Counts the bytes before the first separator.
fn until_separator(bytes: &[u8]) -> usize {
    const BLOCK: usize = 16;
    // Without a branch inside a block, the compiler uses a few wide instructions.
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let has_separator =
        |block: &&[u8; BLOCK]| block.iter().fold(0, |any, &byte| any | u8::from(is_separator(byte))) != 0;
    let start = blocks.iter().take_while(|block| !has_separator(block)).count() * BLOCK;
    let rest = &bytes[start..];
    start + rest.iter().position(|&byte| is_separator(byte)).unwrap_or(rest.len())
}

/// Returns a text with its marks.
pub(crate) fn marked(text: &str) -> String {
    let mut pieces = Vec::new();
    let Ok(()) = split_at_marks::<Infallible>(text, |piece| {
        pieces.push(piece.to_owned());
        Ok(())
    });
    pieces.join("'")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a text back as README.txt describes.
    fn unmarked(marked: &str) -> String {
        let mut text = String::new();
        let mut at_start = true;
        for character in marked.chars() {
            let removed = at_start && character == '\'';
            match character {
                ';' | '\t' | '\r' | '\n' => at_start = true,
                _ if character.is_whitespace() || character.is_control() => {}
                _ => at_start = false,
            }
            if !removed {
                text.push(character);
            }
        }
        text
    }

    fn hostile() -> impl Strategy<Value = String> {
        let special =
            "=+-@＝＋－＠'\";,\t\r\n \u{1}\u{b}\u{85}\u{a0}\u{2028}\u{feff}aé漢".chars().collect::<Vec<_>>();
        let character = prop_oneof![6 => proptest::sample::select(special), 1 => any::<char>()];
        proptest::collection::vec(character, 0..60).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn removing_one_mark_at_each_place_gives_the_text_back(text in hostile()) {
            prop_assert_eq!(unmarked(&marked(&text)), text);
        }

        #[test]
        fn no_cell_begins_with_a_formula_character_wherever_a_spreadsheet_separates(text in hostile()) {
            for cell in marked(&text).split([';', '\t', '\r', '\n']) {
                let first = cell.chars().find(|c| !c.is_whitespace() && !c.is_control());
                prop_assert!(!first.is_some_and(|c| "=+-@＝＋－＠".contains(c)), "{:?}", cell);
            }
        }

        #[test]
        fn a_text_without_a_separator_has_its_mark_where_any_text_has_it(text in hostile()) {
            let text = text.replace([';', '\t', '\r', '\n'], "");
            let expected = only_mark(&text).map_or(text.clone(), |at| format!("{}'{}", &text[..at], &text[at..]));
            prop_assert_eq!(marked(&text), expected);
        }

        #[test]
        fn skipping_to_the_next_separator_finds_the_places_of_every_character(text in hostile()) {
            let mut marks = Marks::default();
            let mut slowly = String::new();
            for character in text.chars() {
                if marks.before(character) {
                    slowly.push('\'');
                }
                slowly.push(character);
            }
            prop_assert_eq!(marked(&text), slowly);
        }
    }

    #[test]
    fn a_mark_stands_right_before_the_character_it_disarms() {
        for (text, expected) in [
            ("=1", "'=1"),
            (";=1+1", ";'=1+1"),
            ("a; \t=1", "a; \t'=1"),
            ("a\r\n+1\n@x\t-", "a\r\n'+1\n'@x\t'-"),
            (" \u{7}\u{a0}＝1", " \u{7}\u{a0}'＝1"),
            ("'", "''"),
            ("x;'=1", "x;''=1"),
            ("''", "'''"),
            ("\tx", "\tx"),
            ("a=1,=1 -1'", "a=1,=1 -1'"),
            ("\"=1\"", "\"=1\""),
            ("", ""),
        ] {
            assert_eq!(marked(text), expected, "{text:?}");
        }
    }
}
