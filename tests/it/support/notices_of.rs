//! Delivers the notices of a test's installation in this process, with the rights of the worker.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use export_activities::{
    database::pool::Pool,
    requests::operate::{self, RevokeReason},
};
use export_notices::{
    Senders,
    mail::{
        self, Mails, SmtpServer,
        templates::{Language, Templates},
    },
    outbox::{self, Channel, Listed},
    webhook::{self, Secrets, Webhooks, guard::Networks},
};
use export_stack::wait;
use export_workflows::contract::Outcome;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::{
    installation_of::{Given, attempt, installation, serve},
    night_of::SOON,
    receiver::SECRET,
};

pub(crate) const PAGE: &str = "https://app.example.com/exports";

/// A running delivery, which ends with the test.
pub(crate) struct Delivery {
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.running.abort();
    }
}

pub(crate) async fn with_channels(channels: &[Channel]) -> Given {
    let given = installation().await;
    for channel in channels {
        outbox::switch(&given.steps.state, *channel, true).await.unwrap();
    }
    given
}

pub(crate) fn webhooks(url: &str) -> Senders {
    let settings = webhook::Settings {
        url: Url::parse(url).unwrap(),
        secrets: Secrets::parse(SECRET).unwrap(),
        networks: Networks::parse("127.0.0.0/8").unwrap(),
    };
    Senders { mails: None, webhooks: Some(Webhooks::new(settings).unwrap()) }
}

pub(crate) fn mails(smtp: &str) -> Senders {
    let templates = Templates::new(None, "Example".into(), Url::parse(PAGE).unwrap()).unwrap();
    let settings = mail::Settings {
        server: SmtpServer::parse(smtp).unwrap(),
        from: "Example <exports@example.com>".parse().unwrap(),
        templates,
        language: Language::En,
    };
    Senders { mails: Some(Mails::new(settings).unwrap()), webhooks: None }
}

/// Delivers from now on.
pub(crate) fn deliver(given: &Given, senders: Senders) -> Delivery {
    deliver_from(given, given.steps.source.clone(), senders)
}

/// Delivers from now on, with addresses from this platform.
pub(crate) fn deliver_from(given: &Given, source: Pool, senders: Senders) -> Delivery {
    let stop = CancellationToken::new();
    let (state, catalogue) = (given.steps.state.clone(), Arc::clone(&given.steps.catalogue));
    let running = tokio::spawn(export_notices::run(state, source, catalogue, senders, stop.clone()));
    Delivery { stop, running }
}

pub(crate) async fn notices(given: &Given, request: Uuid) -> Vec<Listed> {
    let mut listed = outbox::list(&given.steps.state, None, Some(request), 100).await.unwrap();
    listed.sort_by_key(|notice| (notice.channel.as_str(), notice.topic.as_str()));
    listed
}

/// Each notice of a request as `channel topic state code`.
pub(crate) async fn shown(given: &Given, request: Uuid) -> Vec<String> {
    let show = |notice: Listed| {
        let code = notice.code.map(|code| format!(" {code}")).unwrap_or_default();
        format!("{} {} {}{code}", notice.channel.as_str(), notice.topic.as_str(), notice.state.as_str())
    };
    notices(given, request).await.into_iter().map(show).collect()
}

/// Waits until a request has a notice that is shown like this.
pub(crate) async fn until_shown(given: &Given, request: Uuid, notice: &str) {
    let mut last = Vec::new();
    let waited = wait::until(notice, SOON, || async {
        Ok(shown(given, request).await.contains(&notice.to_owned()).then_some(()))
    })
    .await;
    if waited.is_err() {
        last = shown(given, request).await;
    }
    waited.unwrap_or_else(|error| panic!("{error}: {last:?}"));
}

/// Makes all that is due in the future due now: hours pass.
pub(crate) async fn let_time_pass(given: &Given) {
    sqlx::query("update public.data_export_notices set due_at = now() where state = 'due'")
        .execute(&given.owner)
        .await
        .unwrap();
}

/// Makes a user whose address is known to be theirs. Returns the user and the address.
pub(crate) async fn user(given: &Given, locale: &str) -> (Uuid, String) {
    let email = format!("{}@example.org", Uuid::new_v4());
    let user = sqlx::query_scalar(
        "insert into public.users (email, password_hash, full_name, email_verified_at, locale)
         values ($1, 'secret', 'Ada', now(), $2) returning id",
    )
    .bind(&email)
    .bind(locale)
    .fetch_one(&given.owner)
    .await
    .unwrap();
    (user, email)
}

/// Serves a request as a night does.
pub(crate) async fn fulfil(given: &Given, request: Uuid) {
    let served = serve(&given.steps, &attempt(request, 1)).await;
    assert!(matches!(served, Ok(Outcome::Fulfilled { .. })), "{served:?}");
}

pub(crate) async fn revoke(given: &Given, request: Uuid, reason: RevokeReason) {
    operate::revoke(&given.steps.state, request, reason).await.unwrap();
}

pub(crate) async fn expires_at(given: &Given, request: Uuid) -> DateTime<Utc> {
    sqlx::query_scalar("select expires_at from public.data_export_requests where id = $1")
        .bind(request)
        .fetch_one(&given.owner)
        .await
        .unwrap()
}
