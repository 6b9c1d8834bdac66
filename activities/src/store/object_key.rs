//! Defines the names of everything in the bucket: the key of an attempt's archive, and the mark of the installation.
//!
//! Each attempt has a separate key, so a late write of an attempt that lost its claim can never replace the file that a
//! user is downloading. A key holds two random ids and nothing about the person.

use std::fmt;

use uuid::Uuid;

/// Everything that this processor stores is under this prefix.
pub const PREFIX: &str = "exports/";
/// The object that names the installation to which the bucket belongs.
pub const INSTALLATION_MARK: &str = "exports/.installation";

const SUFFIX: &str = ".zip";

/// The key of one attempt's archive: `exports/<request id>/<claim token>.zip`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    text: String,
    request_id: Uuid,
    token: Uuid,
}

impl ObjectKey {
    /// Makes the key of the attempt that holds `token` on `request_id`.
    pub fn new(request_id: Uuid, token: Uuid) -> Self {
        Self { text: format!("{PREFIX}{request_id}/{token}{SUFFIX}"), request_id, token }
    }

    /// Reads a key, if it has exactly the form that [`new`](Self::new) makes: anything else is not ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (request_id, token) = text.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('/')?;
        let key = Self::new(Uuid::try_parse(request_id).ok()?, Uuid::try_parse(token).ok()?);
        // `Uuid` also reads upper case, braces and bare digits, which we never write.
        (key.text == text).then_some(key)
    }

    /// Returns the key as the store knows it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the request that the archive is for.
    pub fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// Returns the claim under which the archive was made.
    pub fn token(&self) -> Uuid {
        self.token
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c6b2-0a4e-4c51-9d6e-2f3f0c6f7a10";
    const TOKEN: &str = "5b1f3d0e-7c57-4a4b-8a36-0d3c3a7a5f11";

    #[test]
    fn a_key_reads_back_as_what_it_was_made_of() {
        let key = ObjectKey::new(ID.parse().unwrap(), TOKEN.parse().unwrap());
        assert_eq!(key.as_str(), format!("exports/{ID}/{TOKEN}.zip"));
        assert_eq!(ObjectKey::parse(key.as_str()), Some(key.clone()));
        assert_eq!(key.request_id().to_string(), ID);
        assert_eq!(key.token().to_string(), TOKEN);
    }

    #[test]
    fn a_key_is_short_ascii() {
        let key = ObjectKey::new(Uuid::max(), Uuid::max());
        assert!(key.as_str().is_ascii());
        assert!(key.as_str().len() < 100);
    }

    #[test]
    fn only_exactly_our_form_is_ours() {
        for foreign in [
            String::new(),
            INSTALLATION_MARK.to_owned(),
            format!("exports/{ID}"),
            format!("exports/{ID}/"),
            format!("exports/{ID}/{TOKEN}"),
            format!("exports/{ID}/{TOKEN}.ZIP"),
            format!("exports/{ID}/{TOKEN}.zip.bak"),
            format!("exports/{ID}/{TOKEN}/x.zip"),
            format!("exports//{ID}/{TOKEN}.zip"),
            format!("/exports/{ID}/{TOKEN}.zip"),
            format!("archive/exports/{ID}/{TOKEN}.zip"),
            format!("exports/{}/{TOKEN}.zip", ID.to_uppercase()),
            format!("exports/{}/{TOKEN}.zip", ID.replace('-', "")),
            format!("exports/{{{ID}}}/{TOKEN}.zip"),
            format!("exports/urn:uuid:{ID}/{TOKEN}.zip"),
            "exports/manual/backup.zip".to_owned(),
        ] {
            assert_eq!(ObjectKey::parse(&foreign), None, "{foreign}");
        }
    }
}
