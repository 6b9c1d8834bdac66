//! Links to an archive that is streamed: for a page of another origin, which has a token and cannot navigate with it.
//!
//! A link carries what it allows, signed with a key that all replicas share. It works for as long as a link to the store
//! would, so that a download that was cut can go on. The state of the export is checked each time.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use crate::rights::Role;

/// What a link allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// The export.
    pub(super) id: Uuid,
    /// Until when.
    pub(super) until: DateTime<Utc>,
    /// For whom, as the log of accesses names them: role, name and reason.
    pub(super) role: Role,
    pub(super) name: Option<String>,
    pub(super) why: Option<String>,
}

impl Ticket {
    /// Writes it for a path.
    pub(super) fn sign(&self, key: &[u8]) -> Option<String> {
        let allows = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?);
        let signature = BASE64_URL_SAFE_NO_PAD.encode(keyed(key, &allows)?.finalize().into_bytes());
        Some(format!("{allows}.{signature}"))
    }

    /// Reads one that is signed and has not ended.
    pub(super) fn read(text: &str, key: &[u8], now: DateTime<Utc>) -> Option<Self> {
        let (allows, signature) = text.split_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        keyed(key, allows)?.verify_slice(&signature).ok()?;
        let ticket: Self = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(allows).ok()?).ok()?;
        Some(ticket).filter(|ticket| ticket.until > now)
    }
}

/// The same key signs cursors, so the purpose is part of it.
fn keyed(key: &[u8], allows: &str) -> Option<Hmac<Sha256>> {
    let mut purpose = Hmac::<Sha256>::new_from_slice(key).ok()?;
    purpose.update(b"link to an archive that is streamed");
    let mut keyed = Hmac::<Sha256>::new_from_slice(&purpose.finalize().into_bytes()).ok()?;
    keyed.update(allows.as_bytes());
    Some(keyed)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_link_works_until_its_end_and_only_unchanged() {
        let now = Utc::now();
        let ticket = Ticket {
            id: Uuid::from_u128(7),
            until: now + TimeDelta::minutes(10),
            role: Role::Owner,
            name: None,
            why: None,
        };
        let text = ticket.sign(b"key").unwrap();
        assert_eq!(Ticket::read(&text, b"key", now), Some(ticket.clone()));
        let longer = Ticket { until: now + TimeDelta::days(7), ..ticket };
        let (allows, _) =
            longer.sign(b"key").map(|text| (text.split('.').next().unwrap().to_owned(), text)).unwrap();
        let (_, signature) = text.split_once('.').unwrap();
        for (text, key, at) in [
            (text.clone(), "key", now + TimeDelta::minutes(10)),
            (text.clone(), "another", now),
            (format!("{allows}.{signature}"), "key", now),
            (text.replace('.', ""), "key", now),
            (format!("{allows}."), "key", now),
            (String::new(), "key", now),
        ] {
            assert_eq!(Ticket::read(&text, key.as_bytes(), at), None, "{text} {key} {at}");
        }
    }
}
