//! Settings of notices: how mails and webhooks go out.

use std::path::PathBuf;

use export_activities::local::{is_safe, is_this_machine};
use export_notices::{
    Senders,
    mail::{
        self, Mails, SmtpServer,
        templates::{Language, Templates},
    },
    webhook::{self, Secrets, Webhooks, guard::Networks},
};
use lettre::message::Mailbox;
use url::Url;

use super::{
    ConfigError,
    value::Reader,
    variable::{self, Variable},
};

/// `EXPORT_SMTP_URL`, `EXPORT_MAIL_*`, `EXPORT_PAGE_URL`, `EXPORT_TEMPLATE_DIR` and `EXPORT_WEBHOOK_*`.
#[derive(Clone, Debug)]
pub struct NoticeSettings {
    mail: Option<MailSettings>,
    webhook: Option<webhook::Settings>,
}

#[derive(Clone, Debug)]
struct MailSettings {
    server: SmtpServer,
    from: Mailbox,
    page: Url,
    language: Language,
    template_dir: Option<PathBuf>,
}

impl NoticeSettings {
    pub(super) fn read(env: &mut Reader<'_>) -> Self {
        Self { mail: mail(env), webhook: webhook(env) }
    }

    /// Makes what mails are sent with, if they are configured. Renders every template once.
    pub fn mails(&self) -> Result<Option<Mails>, ConfigError> {
        let Some(settings) = &self.mail else { return Ok(None) };
        let product = settings.from.name.clone();
        let product = product.unwrap_or_else(|| settings.from.email.domain().to_owned());
        let problem = |variable: &Variable, error: anyhow::Error| ConfigError {
            problems: vec![format!("{}: {error:#}", variable.name)],
        };
        let templates = Templates::new(settings.template_dir.as_deref(), product, settings.page.clone())
            .map_err(|error| problem(&variable::TEMPLATE_DIR, error))?;
        let mails = Mails::new(mail::Settings {
            server: settings.server.clone(),
            from: settings.from.clone(),
            templates,
            language: settings.language,
        });
        mails.map(Some).map_err(|error| problem(&variable::SMTP_URL, error))
    }

    /// Returns where webhooks go, if they are configured.
    pub fn webhook(&self) -> Option<&webhook::Settings> {
        self.webhook.as_ref()
    }

    /// Makes what this worker sends with.
    pub fn senders(&self) -> Result<Senders, ConfigError> {
        let webhooks = self.webhook.clone().map(Webhooks::new).transpose();
        let webhooks = webhooks.map_err(|error| ConfigError {
            problems: vec![format!("{}: {error:#}", variable::WEBHOOK_URL.name)],
        })?;
        Ok(Senders { mails: self.mails()?, webhooks })
    }
}

fn mail(env: &mut Reader<'_>) -> Option<MailSettings> {
    let from = env.text(&variable::MAIL_FROM);
    let page = env.text(&variable::PAGE_URL);
    let language = env.text(&variable::MAIL_LANGUAGE);
    let template_dir = env.text(&variable::TEMPLATE_DIR).map(PathBuf::from);
    let server = env.text(&variable::SMTP_URL)?;
    let mut refuse = |variable: &Variable, what: &str| {
        env.problems.push(format!("{} {what}: set it to something like {}", variable.name, variable.example));
    };
    let server = SmtpServer::parse(&server).map_err(|what| refuse(&variable::SMTP_URL, what)).ok();
    let from = match from.map(|from| from.parse::<Mailbox>()) {
        Some(Ok(from)) => Some(from),
        Some(Err(_)) => {
            refuse(&variable::MAIL_FROM, "is no address of mail");
            None
        }
        None => {
            refuse(&variable::MAIL_FROM, "is not set, but mails are");
            None
        }
    };
    let is_here = server.as_ref().is_some_and(SmtpServer::is_this_machine);
    let page = match page.map(|page| Url::parse(&page)) {
        Some(Ok(page)) if is_safe(&page) && (is_here || !is_this_machine(&page)) => Some(page),
        Some(Ok(_)) => {
            refuse(
                &variable::PAGE_URL,
                "is not https, or is on this machine, where no reader of a mail can go",
            );
            None
        }
        Some(Err(_)) => {
            refuse(&variable::PAGE_URL, "is no address");
            None
        }
        None => {
            refuse(&variable::PAGE_URL, "is not set, but mails lead there");
            None
        }
    };
    let language = match language.as_deref() {
        None => Some(Language::En),
        Some(text) => Language::ALL.into_iter().find(|language| language.as_str() == text),
    };
    if language.is_none() {
        let name = variable::MAIL_LANGUAGE.name;
        env.problems.push(format!("{name} is no language of the mails: set en, de, fr or es"));
    }
    Some(MailSettings { server: server?, from: from?, page: page?, language: language?, template_dir })
}

fn webhook(env: &mut Reader<'_>) -> Option<webhook::Settings> {
    let secrets = env.text(&variable::WEBHOOK_SECRETS);
    let networks = env.text(&variable::WEBHOOK_NETWORKS);
    let url = env.text(&variable::WEBHOOK_URL)?;
    let mut refuse = |variable: &Variable, what: &str| {
        env.problems.push(format!("{} {what}: set it to something like {}", variable.name, variable.example));
    };
    let secrets = match secrets.as_deref().map(Secrets::parse) {
        Some(Ok(secrets)) => Some(secrets),
        Some(Err(what)) => {
            refuse(&variable::WEBHOOK_SECRETS, what);
            None
        }
        None => {
            refuse(&variable::WEBHOOK_SECRETS, "is not set, but signs what goes to EXPORT_WEBHOOK_URL");
            None
        }
    };
    let networks = match networks.as_deref().map(Networks::parse) {
        Some(Ok(networks)) => Some(networks),
        Some(Err(what)) => {
            refuse(&variable::WEBHOOK_NETWORKS, &format!("is wrong: {what}"));
            None
        }
        None => Some(Networks::default()),
    };
    let Ok(url) = Url::parse(&url) else {
        refuse(&variable::WEBHOOK_URL, "is no address");
        return None;
    };
    let settings = webhook::Settings { url, secrets: secrets?, networks: networks? };
    if let Err(what) = settings.check() {
        refuse(&variable::WEBHOOK_URL, &what);
    }
    Some(settings)
}
