//! Replaces the ids of other people by pseudonyms that are the same in all entities of one archive.

use std::fmt::Write as _;

use anyhow::anyhow;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::serialise::Cell;

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
    pub fn new(salt: &[u8], own: Uuid) -> anyhow::Result<Self> {
        let keyed = Hmac::new_from_slice(salt).map_err(|_| anyhow!("failed to key the pseudonyms"))?;
        Ok(Self { keyed, own: own.to_string() })
    }

    /// Returns the cell as it may be exported. Writes the pseudonym to `scratch`.
    pub fn apply<'v>(&self, cell: Cell<'v>, scratch: &'v mut String) -> Cell<'v> {
        let digits;
        let id = match cell {
            // No id is that large. If there is one, it must not be exported as it is.
            Cell::Hex(bytes) => {
                digits = format!("\\x{}", hex::encode(bytes));
                digits.as_str()
            }
            cell => match cell.text() {
                Some(id) => id,
                None => return Cell::Null,
            },
        };
        if id == self.own {
            return cell;
        }
        let mut keyed = self.keyed.clone();
        keyed.update(id.as_bytes());
        let digest = keyed.finalize().into_bytes();
        scratch.clear();
        scratch.push_str("member-");
        for byte in &digest[..PSEUDONYM_BYTES] {
            // Writing to a string cannot fail.
            let _ = write!(scratch, "{byte:02x}");
        }
        Cell::Plain(scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_id_stays_and_another_becomes_the_head_of_its_hmac() {
        let own = Uuid::from_u128(7);
        let pseudonyms = Pseudonyms::new(b"key", own).unwrap();
        let mut scratch = String::new();
        assert_eq!(
            pseudonyms.apply(Cell::Text(&own.to_string()), &mut scratch),
            Cell::Text(&own.to_string())
        );
        assert_eq!(pseudonyms.apply(Cell::Null, &mut scratch), Cell::Null);
        // RFC-style vector: HMAC-SHA256("key", "The quick brown fox jumps over the lazy dog") = f7bc83f430538424...
        let fox = Cell::Text("The quick brown fox jumps over the lazy dog");
        assert_eq!(pseudonyms.apply(fox, &mut scratch), Cell::Plain("member-f7bc83f430538424"));
    }
}
