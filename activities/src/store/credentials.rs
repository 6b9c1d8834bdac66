//! Refuses credentials that do not live for seven days.

use anyhow::Context as _;
use aws_sdk_s3::config::{Credentials, ProvideCredentials as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::Store;
use crate::failure::StoreError;

/// An access key of the store; its `Debug` hides the secret.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: SecretString,
    /// The session token, which makes the pair temporary.
    pub session_token: Option<SecretString>,
}

impl KeyPair {
    /// Makes a pair without a session token.
    pub fn new(id: impl Into<String>, secret: SecretString) -> Self {
        Self { id: id.into(), secret, session_token: None }
    }

    pub(super) fn credentials(&self, origin: &'static str) -> Credentials {
        let token = self.session_token.as_ref().map(|token| token.expose_secret().to_owned());
        Credentials::new(self.id.clone(), self.secret.expose_secret(), token, None, origin)
    }
}

/// The credentials that sign links expire before the links do, so `run` refuses to start.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the credentials that would sign download links are temporary ({sign}): every link would die with them, long \
     before its seven days; set `EXPORT_SIGNING_ACCESS_KEY_ID` and `EXPORT_SIGNING_SECRET_ACCESS_KEY` to a \
     long-lived key pair that may read `exports/*`"
)]
pub struct TemporaryCredentials {
    sign: &'static str,
}

impl Store {
    /// Refuses temporary signing credentials with [`TemporaryCredentials`]. Other errors mean that there are no
    /// credentials at the moment.
    pub async fn check_signing(&self) -> anyhow::Result<()> {
        let failed =
            |code: &str| StoreError { operation: "GetCredentials", code: code.to_owned(), status: None };
        let provided = self.shared.signing.provide_credentials().await;
        // The SDK's text may name files and hosts of this machine.
        let credentials = provided
            .map_err(|_| failed("credentials"))
            .context("failed to get the credentials that sign download links")?;
        match sign_of_temporary(&credentials) {
            // The cause is an error of the store, so credentials that turn temporary are never the request's fault.
            Some(sign) => Err(failed("temporary_credentials")).context(TemporaryCredentials { sign }),
            None => Ok(()),
        }
    }
}

/// Returns the sign by which credentials are temporary. Environment and profile report a token but no expiry, so one
/// check is not enough.
fn sign_of_temporary(credentials: &Credentials) -> Option<&'static str> {
    if credentials.session_token().is_some_and(|token| !token.is_empty()) {
        Some("they have a session token")
    } else if credentials.expiry().is_some() {
        Some("they have an expiry")
    } else if credentials.access_key_id().starts_with("ASIA") {
        Some("the key id begins with ASIA")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn credentials(id: &str, token: Option<&str>, expiry: Option<SystemTime>) -> Credentials {
        Credentials::new(id, "secret", token.map(str::to_owned), expiry, "test")
    }

    #[test]
    fn a_long_lived_pair_is_accepted() {
        assert_eq!(sign_of_temporary(&credentials("AKIAEXAMPLE", None, None)), None);
        assert_eq!(sign_of_temporary(&credentials("testkey", Some(""), None)), None);
    }

    #[test]
    fn each_sign_of_a_temporary_pair_is_enough() {
        let soon = SystemTime::now() + Duration::from_secs(3600);
        assert!(sign_of_temporary(&credentials("AKIAEXAMPLE", Some("token"), None)).is_some());
        assert!(sign_of_temporary(&credentials("AKIAEXAMPLE", None, Some(soon))).is_some());
        assert!(sign_of_temporary(&credentials("ASIAEXAMPLE", None, None)).is_some());
    }

    #[test]
    fn the_remedy_names_both_variables() {
        let text = TemporaryCredentials { sign: "they have an expiry" }.to_string();
        assert!(text.contains("EXPORT_SIGNING_ACCESS_KEY_ID"));
        assert!(text.contains("EXPORT_SIGNING_SECRET_ACCESS_KEY"));
    }

    #[test]
    fn a_key_pair_never_shows_its_secret() {
        let mut pair = KeyPair::new("AKIAEXAMPLE", "hunter2".to_owned().into());
        pair.session_token = Some("hunter3".to_owned().into());
        assert!(!format!("{pair:?}").contains("hunter"));
    }
}
