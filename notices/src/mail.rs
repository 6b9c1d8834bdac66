//! Mails to the person, over SMTP.

pub mod templates;

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use export_activities::{local::is_this_machine, user_id::UserId};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp,
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use self::templates::{Language, Templates};
use crate::{
    backoff,
    outbox::{Channel, Notice, Outcome, Topic},
};

/// The longest wait for each answer of the server.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Status codes that refuse the login (RFC 4954).
const LOGIN_REFUSED: [u16; 4] = [530, 534, 535, 538];

/// The SMTP server, and who logs in there.
#[derive(Clone)]
pub struct SmtpServer(SecretString);

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmtpServer")
    }
}

impl SmtpServer {
    /// Reads `smtps://USER:PASSWORD@HOST:465`, or `smtp://...:587`, which begins in plain text and then has to be
    /// encrypted. Without encryption only on this machine. The error repeats nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut url = Url::parse(text).map_err(|_| "is not a URL (special characters are written as %XX)")?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err("names no host");
        }
        if url.query().is_some() || url.fragment().is_some() || !matches!(url.path(), "" | "/") {
            return Err("is more than smtps://USER:PASSWORD@HOST:PORT");
        }
        match url.scheme() {
            "smtps" => {}
            "smtp" if is_this_machine(&url) => {}
            "smtp" => url.set_query(Some("tls=required")),
            _ => return Err("begins with neither smtps:// nor smtp://"),
        }
        Ok(Self(url.to_string().into()))
    }

    /// Whether it is on this machine: for development, nothing goes out into the world.
    pub fn is_this_machine(&self) -> bool {
        Url::parse(self.0.expose_secret()).is_ok_and(|url| is_this_machine(&url))
    }
}

/// How mails go out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub server: SmtpServer,
    /// Who they are from.
    pub from: Mailbox,
    /// What they say.
    pub templates: Templates,
    /// The language of a person without one.
    pub language: Language,
}

/// Where a person gets mail.
#[derive(Clone)]
pub(crate) struct Contact {
    /// The address, as the platform has it.
    pub(crate) email: String,
    /// The locale, as the platform has it.
    pub(crate) locale: Option<String>,
}

/// Sends mails.
pub struct Mails {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    settings: Arc<Settings>,
}

impl Mails {
    /// Makes the transport; it connects when the first mail goes out.
    pub fn new(settings: Settings) -> Result<Self> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.server.0.expose_secret());
        // The parser's own error may repeat the URL.
        let transport = transport.map_err(|_| anyhow::anyhow!("EXPORT_SMTP_URL cannot be used"))?;
        let pool = smtp::PoolConfig::new().max_size(4).idle_timeout(Duration::from_secs(30));
        let transport = transport.timeout(Some(ANSWERS_WITHIN)).pool_config(pool).build();
        Ok(Self { transport, settings: Arc::new(settings) })
    }

    /// Connects, logs in and sends nothing. The error holds no text of the server, which may repeat an address.
    pub async fn reach(&self) -> Result<()> {
        match self.transport.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => anyhow::bail!("the SMTP server did not answer NOOP with success"),
            Err(error) => anyhow::bail!("the SMTP server cannot be used ({})", code(&error)),
        }
    }

    pub(crate) async fn send(&self, notice: &Notice, contact: &Contact) -> Result<Outcome> {
        let Ok(address) = contact.email.trim().parse::<Address>() else {
            return Ok(Outcome::Dead("bad_address".to_owned()));
        };
        let language = contact.locale.as_deref().and_then(Language::of).unwrap_or(self.settings.language);
        let message = self.message(notice, address, language)?;
        Ok(match self.transport.send(message).await {
            Ok(_) => Outcome::Sent,
            Err(error) => judge(notice, &error),
        })
    }

    fn message(&self, notice: &Notice, address: Address, language: Language) -> Result<Message> {
        let mail = self.settings.templates.render(notice, language)?;
        let domain = self.settings.from.email.domain();
        let raw = |name| HeaderName::new_from_ascii_str(name);
        Message::builder()
            .from(self.settings.from.clone())
            .to(Mailbox::new(None, address))
            .subject(mail.subject)
            .date_now()
            // The same on a repeat, so that a mail program shows one mail.
            .message_id(Some(format!("<{}@{domain}>", notice.id)))
            // RFC 3834: no out-of-office answer, please.
            .raw_header(HeaderValue::new(raw("Auto-Submitted"), "auto-generated".to_owned()))
            .raw_header(HeaderValue::new(raw("Content-Language"), language.as_str().to_owned()))
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
            .context("failed to make a mail")
    }
}

/// Returns why there is no reason to send a notice any more.
pub(crate) fn reason_to_drop(notice: &Notice) -> Option<&'static str> {
    match notice.topic {
        _ if notice.user_id == UserId::forgotten() => Some("forgotten"),
        Topic::Ready if !notice.is_ready => Some("ended"),
        Topic::Reminder if notice.is_collected => Some("collected"),
        Topic::Reminder if !notice.is_ready => Some("ended"),
        _ => None,
    }
}

fn judge(notice: &Notice, error: &smtp::Error) -> Outcome {
    let code = code(error);
    match error.status().map(u16::from) {
        Some(status) if LOGIN_REFUSED.contains(&status) => Outcome::Pause(format!(
            "the SMTP server refuses the login ({status}): correct user and password in EXPORT_SMTP_URL"
        )),
        // 421 ends the connection, whichever mail it was for.
        Some(421) => Outcome::Away("smtp_421"),
        Some(_) if error.is_permanent() => Outcome::Dead(code),
        Some(_) => match backoff::after(Channel::Mail, notice.tries.unsigned_abs()) {
            Some(wait) => Outcome::Again(code, wait),
            None => Outcome::Dead(code),
        },
        None if error.is_tls() => Outcome::Away("tls"),
        None if error.is_timeout() => Outcome::Away("timeout"),
        None => Outcome::Away("unreachable"),
    }
}

/// A code without any text of the server.
fn code(error: &smtp::Error) -> String {
    match error.status() {
        Some(status) => format!("smtp_{}", u16::from(status)),
        None if error.is_tls() => "tls".to_owned(),
        None if error.is_timeout() => "timeout".to_owned(),
        None => "unreachable".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_encrypted_or_on_this_machine() {
        for (text, query) in [
            ("smtps://user:secret@mail.example.com:465", None),
            ("smtp://user:secret@mail.example.com:587", Some("tls=required")),
            ("smtp://127.0.0.1:1025", None),
            ("smtp://localhost:1025", None),
        ] {
            let server = SmtpServer::parse(text).unwrap();
            assert_eq!(Url::parse(server.0.expose_secret()).unwrap().query(), query, "{text}");
            assert!(!format!("{server:?}").contains("secret"));
        }
        for text in
            ["mail.example.com", "https://mail.example.com", "smtp://", "smtp://mail.example.com?tls=none"]
        {
            assert!(SmtpServer::parse(text).is_err(), "{text}");
        }
    }
}
