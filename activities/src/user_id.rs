//! The id of a platform's user.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Maximum length in bytes; the database has the same limit.
const LONGEST: usize = 255;

/// The text of a user's id, as the platform's database writes it, of whatever type it is there: uuid, integer or text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(try_from = "String", into = "String")]
#[sqlx(transparent)]
pub struct UserId(String);

impl UserId {
    /// Returns the id that stands on the requests of a forgotten user.
    pub fn forgotten() -> Self {
        Uuid::nil().into()
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a user has 1 to {LONGEST} bytes and no control characters")]
pub struct NoUserId;

impl TryFrom<String> for UserId {
    type Error = NoUserId;

    fn try_from(text: String) -> Result<Self, NoUserId> {
        if text.is_empty() || text.len() > LONGEST || text.contains(char::is_control) {
            return Err(NoUserId);
        }
        // As the trigger does: of all spellings of a uuid, the one that PostgreSQL writes.
        let is_uuid = text.len() == 36 && Uuid::try_parse(&text).is_ok();
        Ok(Self(if is_uuid { text.to_ascii_lowercase() } else { text }))
    }
}

impl FromStr for UserId {
    type Err = NoUserId;

    fn from_str(text: &str) -> Result<Self, NoUserId> {
        text.to_owned().try_into()
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0
    }
}

impl From<Uuid> for UserId {
    fn from(id: Uuid) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_any_short_text_and_a_uuid_has_one_spelling() {
        let id = |text: &str| text.parse::<UserId>().map(String::from);
        for text in ["7", "-3", "usr_01H", "Ünïcode", "A0EEBC99-9C0B", &"x".repeat(255)] {
            assert_eq!(id(text).as_deref(), Ok(text));
        }
        let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        assert_eq!(id(&uuid.to_uppercase()).as_deref(), Ok(uuid));
        for text in ["", "a\nb", "\u{7f}", &"x".repeat(256)] {
            assert_eq!(id(text), Err(NoUserId), "{text:?}");
        }
    }
}
