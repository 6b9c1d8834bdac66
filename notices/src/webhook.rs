//! Webhooks to the platform, signed as the Standard Webhooks specification says.

pub mod guard;

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use export_activities::local::is_safe;
use hmac::{Hmac, Mac as _};
use reqwest::{Client, StatusCode, header, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sha2::Sha256;
use url::{Host, Url};

use self::guard::Networks;
use crate::{
    backoff,
    outbox::{Channel, Notice, Outcome},
};

/// The longest wait for an answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// The longest wait that a receiver may ask for with `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What begins each secret, as the specification says.
const SECRET_PREFIX: &str = "whsec_";

/// The secrets that sign a webhook. Two during a rotation: a receiver that knows one of them accepts it.
#[derive(Clone)]
pub struct Secrets(Vec<SecretString>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// Reads one or two secrets, separated by a comma. The error repeats nothing of them.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut secrets = Vec::new();
        for secret in text.split(',').map(str::trim) {
            let key = secret.strip_prefix(SECRET_PREFIX).and_then(|base64| STANDARD.decode(base64).ok());
            match key {
                Some(key) if (24..=64).contains(&key.len()) => {
                    secrets.push(SecretString::from(STANDARD.encode(key)))
                }
                _ => return Err("is not whsec_ and 24 to 64 bytes in base64"),
            }
        }
        if secrets.len() > 2 {
            return Err("holds more than two secrets");
        }
        Ok(Self(secrets))
    }

    /// Signs a message; a signature for each secret, separated by spaces.
    fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> Result<String> {
        let mut signatures = Vec::new();
        for secret in &self.0 {
            let key =
                STANDARD.decode(secret.expose_secret()).context("a secret of the webhook is not base64")?;
            let mut mac =
                Hmac::<Sha256>::new_from_slice(&key).context("a secret of the webhook is no key")?;
            mac.update(format!("{id}.{seconds}.").as_bytes());
            mac.update(body);
            signatures.push(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
        }
        Ok(signatures.join(" "))
    }
}

/// Where webhooks go.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The receiver.
    pub url: Url,
    /// What signs them.
    pub secrets: Secrets,
    /// Networks that are not public, to which they may go.
    pub networks: Networks,
}

impl Settings {
    /// Checks what needs no network; the error says what to set.
    pub fn check(&self) -> Result<(), String> {
        if !is_safe(&self.url) {
            return Err("is not https: what it tells would be sent in plain text".to_owned());
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err("holds a user or a password: the signature says who sends it".to_owned());
        }
        self.networks.check_literal(&self.url).map_err(|blocked| blocked.to_string())
    }

    /// Resolves the receiver, and checks where it leads.
    pub async fn reach(&self) -> Result<()> {
        self.check().map_err(anyhow::Error::msg)?;
        if let Some(Host::Domain(name)) = self.url.host() {
            self.networks.resolve(name).await.with_context(|| format!("`{name}` has no address"))??;
        }
        Ok(())
    }
}

/// Sends webhooks.
pub struct Webhooks {
    settings: Settings,
    http: Client,
}

/// The body: what happened to which request, without a link and without a name.
#[derive(Serialize)]
struct Body<'n> {
    r#type: String,
    timestamp: DateTime<Utc>,
    data: Data<'n>,
}

#[derive(Serialize)]
struct Data<'n> {
    id: uuid::Uuid,
    user_id: &'n str,
    org_id: Option<&'n str>,
    reason: Option<&'n str>,
    requested_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    bytes: Option<i64>,
    sha256: Option<&'n str>,
    rows: Option<&'n serde_json::Value>,
    part: bool,
    scope: Option<&'n serde_json::Value>,
}

impl Webhooks {
    /// Makes the client. It follows no redirect, uses no proxy, and connects only to addresses that were checked.
    pub fn new(settings: Settings) -> Result<Self> {
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(ANSWERS_WITHIN)
            .connect_timeout(Duration::from_secs(5))
            .dns_resolver(Arc::new(guard::Resolver(Arc::new(settings.networks.clone()))))
            .user_agent(concat!("export-worker/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("failed to make the client of webhooks")?;
        Ok(Self { settings, http })
    }

    pub(crate) async fn send(&self, notice: &Notice) -> Result<Outcome> {
        let body = body(notice)?;
        let (id, now) = (notice.id.to_string(), Utc::now().timestamp());
        let sent = self
            .http
            .post(self.settings.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", self.settings.secrets.sign(&id, now, &body)?)
            .body(body)
            .send()
            .await;
        // The body of the answer is not read: it has nothing to say.
        Ok(match sent {
            Ok(answer) => judge(notice, answer.status(), retry_after(answer.headers())),
            Err(error) => match guard::blocked(&error) {
                Some(blocked) => Outcome::Pause(format!("EXPORT_WEBHOOK_URL: {blocked}")),
                None if error.is_timeout() && !error.is_connect() => {
                    refused(notice, "timeout".to_owned(), None)
                }
                None => Outcome::Away(match error.source().map(ToString::to_string) {
                    Some(cause) if cause.contains("certificate") => "tls",
                    _ => "unreachable",
                }),
            },
        })
    }
}

fn body(notice: &Notice) -> Result<Vec<u8>> {
    let body = Body {
        r#type: format!("data_export.{}", notice.topic.as_str()),
        timestamp: notice.at,
        data: Data {
            id: notice.request_id,
            user_id: notice.user_id.as_str(),
            org_id: notice.org_id.as_deref(),
            reason: notice.reason.as_deref(),
            requested_at: notice.requested_at,
            expires_at: notice.expires_at,
            bytes: notice.archive_bytes,
            sha256: notice.archive_sha256.as_deref(),
            rows: notice.row_counts.as_ref(),
            part: notice.is_part,
            scope: notice.scope.as_ref(),
        },
    };
    serde_json::to_vec(&body).context("failed to encode a webhook")
}

fn judge(notice: &Notice, status: StatusCode, retry_after: Option<Duration>) -> Outcome {
    match status {
        status if status.is_success() => Outcome::Sent,
        StatusCode::GONE => Outcome::Pause(
            "the receiver answered 410 Gone: set EXPORT_WEBHOOK_URL to where it is now, or turn webhooks off"
                .to_owned(),
        ),
        status => refused(notice, format!("http_{}", status.as_u16()), retry_after),
    }
}

fn refused(notice: &Notice, code: String, retry_after: Option<Duration>) -> Outcome {
    match backoff::after(Channel::Webhook, notice.tries.unsigned_abs()) {
        Some(wait) => Outcome::Again(code, wait.max(retry_after.unwrap_or_default())),
        None => Outcome::Dead(code),
    }
}

/// Reads `Retry-After`, in seconds or as a date.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - Utc::now()).to_std().ok()?,
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        let secrets = Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_is_refused_without_repeating_it() {
        for text in ["", "secret", "whsec_c2hvcnQ=", "whsec_!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(!Secrets::parse(text).unwrap_err().contains("secret,"), "{text}");
        }
        let one = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(Secrets::parse(&format!("{one}, {one}")).unwrap().0.len(), 2);
        assert!(Secrets::parse(&format!("{one},{one},{one}")).is_err());
        assert!(!format!("{:?}", Secrets::parse(one).unwrap()).contains("MfKQ"));
    }

    #[test]
    fn only_a_receiver_that_is_encrypted_and_outside_is_accepted() {
        let settings = |url: &str, networks: &str| Settings {
            url: Url::parse(url).unwrap(),
            secrets: Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
            networks: if networks.is_empty() {
                Networks::default()
            } else {
                Networks::parse(networks).unwrap()
            },
        };
        for (url, networks, accepted) in [
            ("https://app.example.com/hooks", "", true),
            ("http://app.example.com/hooks", "", false),
            ("https://user:secret@app.example.com/hooks", "", false),
            ("https://10.0.0.1/", "", false),
            ("https://10.0.0.1/", "10.0.0.0/8", true),
            ("http://10.0.0.1/", "10.0.0.0/8", false),
            ("http://127.0.0.1:9/", "127.0.0.0/8", true),
            ("ftp://app.example.com/", "", false),
        ] {
            assert_eq!(settings(url, networks).check().is_ok(), accepted, "{url} {networks}");
        }
    }
}
