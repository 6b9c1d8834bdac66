//! Replaces the ids of other people by pseudonyms that are the same in all entities of one archive.

use std::fmt::Write as _;

use crate::{
    serialise::{Cell, json_token, value::Unreadable},
    user_id::UserId,
};
use anyhow::anyhow;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// Number of bytes of the digest that, as hex, make a pseudonym: no two of a million people share one (chance below one
/// in ten million).
const PSEUDONYM_BYTES: usize = 8;

/// Makes the pseudonyms of one archive; the requester's own id stays as it is.
///
/// The salt is erased with the claim when the request leaves `pending`, so nobody can go back from a pseudonym to
/// an id afterwards, not even by trying all ids.
#[derive(Clone)]
pub struct Pseudonyms {
    keyed: Hmac<Sha256>,
    own: String,
}

impl Pseudonyms {
    /// Makes the pseudonyms of a request from its salt and its user.
    pub fn new(salt: &[u8], own: &UserId) -> anyhow::Result<Self> {
        let keyed = Hmac::new_from_slice(salt).map_err(|_| anyhow!("failed to key the pseudonyms"))?;
        Ok(Self { keyed, own: own.to_string() })
    }

    /// Returns the cell as it may be exported: a string, or an array of strings. Writes it to `scratch`.
    ///
    /// # Errors
    /// An array that cannot be read.
    pub fn apply<'v>(&self, cell: Cell<'v>, scratch: &'v mut String) -> Result<Cell<'v>, Unreadable> {
        scratch.clear();
        match cell {
            Cell::Null => return Ok(Cell::Null),
            Cell::Token(array) => {
                let array = serde_json::from_str(array).map_err(|_| Unreadable)?;
                scratch.push_str(&self.all(array)?.to_string());
                return Ok(Cell::Token(scratch));
            }
            // Such an array has a million ids.
            Cell::EscapedToken(_) | Cell::LargeToken(_) => return Err(Unreadable),
            // No id is that large. If there is one, it must not be exported as it is.
            Cell::Hex(bytes) => self.push(&format!("\\x{}", hex::encode(bytes)), scratch),
            Cell::Bare(id) if id == self.own => return Ok(Cell::Plain(id)),
            Cell::Bare(id) => self.push(id, scratch),
            // Platforms without nulls write an empty text for no person.
            Cell::Plain(id) | Cell::Text(id) if id == self.own || id.is_empty() => return Ok(cell),
            Cell::Plain(id) | Cell::Text(id) => self.push(id, scratch),
        }
        Ok(Cell::Plain(scratch))
    }

    /// Appends the JSON string that stands for an id.
    pub(super) fn push_quoted(&self, id: &str, out: &mut String) {
        if id == self.own || id.is_empty() {
            return json_token::push_quoted(id, out);
        }
        out.push('"');
        self.push(id, out);
        out.push('"');
    }

    /// Replaces every id of an array, of any dimension.
    fn all(&self, value: Value) -> Result<Value, Unreadable> {
        let id = match value {
            Value::Null => return Ok(Value::Null),
            Value::Array(items) => {
                return items
                    .into_iter()
                    .map(|item| self.all(item))
                    .collect::<Result<_, _>>()
                    .map(Value::Array);
            }
            Value::String(id) => id,
            Value::Number(id) => id.to_string(),
            Value::Bool(_) | Value::Object(_) => return Err(Unreadable),
        };
        if id == self.own || id.is_empty() {
            return Ok(Value::String(id));
        }
        let mut pseudonym = String::new();
        self.push(&id, &mut pseudonym);
        Ok(Value::String(pseudonym))
    }

    /// Appends the pseudonym of an id.
    fn push(&self, id: &str, out: &mut String) {
        let mut keyed = self.keyed.clone();
        keyed.update(id.as_bytes());
        let digest = keyed.finalize().into_bytes();
        out.push_str("member-");
        for byte in &digest[..PSEUDONYM_BYTES] {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_own_id_stays_and_another_becomes_the_head_of_its_hmac() {
        let own = UserId::from(Uuid::from_u128(7));
        let pseudonyms = Pseudonyms::new(b"key", &own).unwrap();
        let mut scratch = String::new();
        assert_eq!(
            pseudonyms.apply(Cell::Text(own.as_str()), &mut scratch).unwrap(),
            Cell::Text(own.as_str())
        );
        assert_eq!(pseudonyms.apply(Cell::Null, &mut scratch).unwrap(), Cell::Null);
        assert_eq!(pseudonyms.apply(Cell::Text(""), &mut scratch).unwrap(), Cell::Text(""), "no person");
        // RFC-style vector: HMAC-SHA256("key", "The quick brown fox jumps over the lazy dog") = f7bc83f430538424...
        let fox = Cell::Text("The quick brown fox jumps over the lazy dog");
        assert_eq!(pseudonyms.apply(fox, &mut scratch).unwrap(), Cell::Plain("member-f7bc83f430538424"));
    }

    #[test]
    fn numbers_and_arrays_become_strings_and_the_same_id_is_the_same_pseudonym() {
        let own: UserId = "42".parse().unwrap();
        let pseudonyms = Pseudonyms::new(b"key", &own).unwrap();
        let applied = |cell| {
            let mut scratch = String::new();
            match pseudonyms.apply(cell, &mut scratch).unwrap() {
                Cell::Plain(text) => (false, text.to_owned()),
                Cell::Token(text) => (true, text.to_owned()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(applied(Cell::Bare("42")), (false, "42".to_owned()));
        let (_, seven) = applied(Cell::Bare("7"));
        assert!(seven.starts_with("member-"), "{seven}");
        let expected = (true, format!("[\"42\",null,[\"{seven}\"]]"));
        assert_eq!(applied(Cell::Token("[42,null,[7]]")), expected);
        assert_eq!(applied(Cell::Token("[\"42\",null,[\"7\"]]")), expected);
        assert_eq!(applied(Cell::Token("[]")), (true, "[]".to_owned()));
        assert_eq!(applied(Cell::Token("[\"\"]")), (true, "[\"\"]".to_owned()));
        assert!(pseudonyms.apply(Cell::Token("[true]"), &mut String::new()).is_err());
    }
}
