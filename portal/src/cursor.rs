//! Where the next page of a list begins. Signed, so that a cursor works only in the list that it is from.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

/// Bytes of the signature in a cursor.
const SIGNATURE: usize = 16;

/// The last export of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) requested_at: DateTime<Utc>,
    pub(crate) id: Uuid,
}

impl Cursor {
    /// Writes the cursor for the list that `list` describes: the caller's scope and the filters.
    pub(crate) fn sign(self, key: &[u8], list: &str) -> String {
        let mut bytes = self.requested_at.timestamp_micros().to_be_bytes().to_vec();
        bytes.extend(self.id.as_bytes());
        let signature = signature(key, list, &bytes);
        bytes.extend(&signature[..SIGNATURE]);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor of that list.
    pub(crate) fn read(text: &str, key: &[u8], list: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (place, given) = bytes.split_at_checked(24)?;
        if given.len() != SIGNATURE || given != &signature(key, list, place)[..SIGNATURE] {
            return None;
        }
        let (at, id) = place.split_first_chunk::<8>()?;
        let requested_at = DateTime::from_timestamp_micros(i64::from_be_bytes(*at))?;
        Some(Self { requested_at, id: Uuid::from_slice(id).ok()? })
    }
}

fn signature(key: &[u8], list: &str, place: &[u8]) -> [u8; 32] {
    // A key of any length is valid.
    let Ok(mut keyed) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    keyed.update(place);
    keyed.update(list.as_bytes());
    keyed.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_works_in_its_own_list_alone_and_only_unchanged() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let cursor = Cursor { requested_at: at, id: Uuid::from_u128(7) };
        let text = cursor.sign(b"key", "own ready");
        assert_eq!(Cursor::read(&text, b"key", "own ready"), Some(cursor));
        for (text, key, list) in [
            (text.as_str(), "key", "own failed"),
            (&text, "other", "own ready"),
            (&text[1..], "key", "own ready"),
            (&format!("{text}AA"), "key", "own ready"),
            (&text.replacen(&text[..2], "AB", 1), "key", "own ready"),
            ("", "key", "own ready"),
            ("not a cursor", "key", "own ready"),
        ] {
            assert_eq!(Cursor::read(text, key.as_bytes(), list), None, "{text} {key} {list}");
        }
    }
}
