//! What mails and webhooks go through.

use anyhow::Result;
use export_activities::{catalogue::Catalogue, database::pool::Pool};
use export_notices::outbox::{self, Channel, ChannelStatus};

use super::Line;
use crate::{
    config::Config,
    connect::{self, explain::Explained},
};

const MAIL: &str = "mails";
const WEBHOOK: &str = "webhooks";

/// Reaches the SMTP server and the receiver of webhooks, if this worker is to send.
pub(super) async fn examine(
    config: &Config,
    state: Option<&Pool>,
    catalogue: Option<&Catalogue>,
    lines: &mut Vec<Line>,
) {
    let channels = match state {
        Some(state) => channels(state).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let of = |channel: Channel| channels.iter().find(|status| status.channel == channel);
    lines.push(mails(config, of(Channel::Mail), catalogue).await);
    lines.push(webhooks(config, of(Channel::Webhook)).await);
}

async fn channels(state: &Pool) -> Result<Vec<ChannelStatus>> {
    let mut connection = connect::once(state).await?;
    outbox::channels(&mut connection).await
}

async fn mails(config: &Config, status: Option<&ChannelStatus>, catalogue: Option<&Catalogue>) -> Line {
    let mails = match config.notices.mails() {
        Ok(Some(mails)) => mails,
        Ok(None) => return unconfigured(MAIL, status, "EXPORT_SMTP_URL"),
        Err(error) => {
            return Line::failed(
                MAIL,
                Explained::new(error.to_string(), "correct it; `run` refuses to start with it"),
            );
        }
    };
    if let Err(error) = mails.reach().await {
        let remedy = "check EXPORT_SMTP_URL: host, port, user and password, and the network between";
        return Line::failed(MAIL, Explained::new(error.to_string(), remedy));
    }
    if catalogue.is_some_and(|catalogue| catalogue.contact().is_none()) {
        let remedy = "add [contact] to the catalogue: entity, email, and verified and locale if there are such columns";
        return Line::warning(
            MAIL,
            Explained::new("the catalogue does not say where people get mail", remedy),
        );
    }
    judged(MAIL, status, "the SMTP server accepts the login")
}

async fn webhooks(config: &Config, status: Option<&ChannelStatus>) -> Line {
    let Some(settings) = config.notices.webhook() else {
        return unconfigured(WEBHOOK, status, "EXPORT_WEBHOOK_URL");
    };
    match settings.reach().await {
        Ok(()) => judged(WEBHOOK, status, "the receiver's address may be reached; nothing was sent"),
        Err(error) => {
            let remedy = "check EXPORT_WEBHOOK_URL and the name server of this machine";
            Line::failed(WEBHOOK, Explained::new(format!("{error:#}"), remedy))
        }
    }
}

fn judged(check: &'static str, status: Option<&ChannelStatus>, well: &str) -> Line {
    match status {
        Some(ChannelStatus { is_on: false, channel, .. }) => {
            let channel = channel.as_str();
            Line::ok(check, format!("{well}; off until `export-worker notices on {channel}`"))
        }
        Some(ChannelStatus { paused_because: Some(because), channel, .. }) => {
            let remedy =
                format!("`export-worker notices resume {}`, after its cause is removed", channel.as_str());
            Line::warning(check, Explained::new(format!("{well}, but they are paused: {because}"), remedy))
        }
        _ => Line::ok(check, well),
    }
}

fn unconfigured(check: &'static str, status: Option<&ChannelStatus>, variable: &str) -> Line {
    match status {
        Some(ChannelStatus { is_on: true, .. }) => {
            let cause = format!("they are on, and {variable} is not set here");
            Line::warning(check, Explained::new(cause, format!("set {variable} for at least one worker")))
        }
        _ => Line::ok(check, format!("none: {variable} is not set")),
    }
}
