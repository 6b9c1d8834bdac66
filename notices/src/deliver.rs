//! The loop that delivers: takes what is due, sends it, and marks what became of it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use export_activities::{
    catalogue::Catalogue,
    database::pool::Pool,
    failure::{judge, sqlstate},
    user_id::UserId,
};
use futures::{StreamExt as _, stream};
use sqlx::Row as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    backoff,
    mail::{self, Contact, Mails},
    outbox::{self, Channel, Notice, Outcome},
    webhook::Webhooks,
};

/// Between two looks. A look at an empty outbox is one read of a small index.
const LOOK: Duration = Duration::from_secs(2);
/// Notices that are taken at a time, and sent at a time. What is taken has to be sent within its lease.
const BATCH: i64 = 32;
const AT_A_TIME: usize = 8;

/// The class of SQLSTATEs of values that do not fit a type.
const DATA_EXCEPTION: &str = "22";

/// What this worker can send with. A channel that it cannot serve is left to the others.
#[derive(Default)]
pub struct Senders {
    /// Mails.
    pub mails: Option<Mails>,
    /// Webhooks.
    pub webhooks: Option<Webhooks>,
}

/// Delivers until `stop`; what has been taken by then is still sent.
pub async fn run(
    state: Pool,
    source: Pool,
    catalogue: Arc<Catalogue>,
    senders: Senders,
    stop: CancellationToken,
) {
    let Senders { mails, webhooks } = senders;
    let mails = async {
        if let Some(mails) = &mails {
            let route = Route::Mail { mails, source: &source, catalogue: &catalogue };
            serve(&state, Channel::Mail, &route, &stop).await;
        }
    };
    let webhooks = async {
        if let Some(webhooks) = &webhooks {
            serve(&state, Channel::Webhook, &Route::Webhook(webhooks), &stop).await;
        }
    };
    tokio::join!(mails, webhooks);
}

/// What a notice of a channel goes through.
enum Route<'w> {
    Mail { mails: &'w Mails, source: &'w Pool, catalogue: &'w Catalogue },
    Webhook(&'w Webhooks),
}

/// Serves one channel. The channels do not wait for each other.
async fn serve(state: &Pool, channel: Channel, route: &Route<'_>, stop: &CancellationToken) {
    let mut failures = 0;
    while !stop.is_cancelled() {
        let wait = match round(state, channel, route, failures).await {
            Ok(Round { taken: 0, .. }) => LOOK,
            Ok(Round { away: true, .. }) => {
                failures += 1;
                backoff::rest(failures)
            }
            Ok(_) => {
                failures = 0;
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(
                    error.chain = %judge(&error),
                    "Notices ({}) could not be delivered; they are tried again", channel.as_str()
                );
                failures += 1;
                backoff::rest(failures)
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What came of one look.
struct Round {
    taken: usize,
    away: bool,
}

async fn round(state: &Pool, channel: Channel, route: &Route<'_>, failures: u32) -> Result<Round> {
    // After a failure one notice finds out whether the server is back.
    let most = if failures == 0 { BATCH } else { 1 };
    let taken = outbox::take(state, channel, most).await?;
    let count = taken.len();
    let rest = backoff::rest(failures + 1);
    let outcomes: Vec<Result<Outcome>> = stream::iter(taken)
        .map(|notice| deliver(state, notice, route, rest))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let outcomes: Vec<_> = outcomes.into_iter().collect::<Result<_>>()?;
    let away = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Away(code) => Some(code),
        _ => None,
    });
    if let (Some(code), 0) = (away, failures) {
        tracing::warn!(
            error.code = code,
            "The receiver of notices ({}) is away; they wait",
            channel.as_str()
        );
    }
    Ok(Round { taken: count, away: away.is_some() })
}

/// Sends one notice and marks what became of it.
async fn deliver(state: &Pool, notice: Notice, route: &Route<'_>, rest: Duration) -> Result<Outcome> {
    let channel = notice.channel;
    let outcome = send(&notice, route).await?;
    if let Outcome::Pause(because) = &outcome {
        tracing::error!("Notices ({}) are paused: {because}", channel.as_str());
        outbox::pause(state, channel, because).await?;
    }
    outbox::mark(state, &notice, &outcome, rest).await?;
    if let Outcome::Dead(code) = &outcome {
        tracing::warn!(
            notice.id = %notice.id, request.id = %notice.request_id, error.code = code,
            "A notice ({}, {}) is given up", channel.as_str(), notice.topic.as_str()
        );
    }
    Ok(outcome)
}

async fn send(notice: &Notice, route: &Route<'_>) -> Result<Outcome> {
    match route {
        Route::Webhook(webhooks) => webhooks.send(notice).await,
        Route::Mail { mails, source, catalogue } => {
            if let Some(code) = mail::reason_to_drop(notice) {
                return Ok(Outcome::Dropped(code));
            }
            if notice.user_id == UserId::forgotten() {
                return Ok(Outcome::Dropped("forgotten"));
            }
            match contact(notice, source, catalogue).await? {
                Some(contact) => mails.send(notice, &contact).await,
                None => Ok(Outcome::Dropped("no_address")),
            }
        }
    }
}

/// Reads from the platform where the person gets mail now: a changed address counts, and none is kept here.
async fn contact(notice: &Notice, source: &Pool, catalogue: &Catalogue) -> Result<Option<Contact>> {
    let mut session = source.acquire().await.context("failed to reach the source for an address")?;
    let Some(statement) = catalogue.contact_statement(&mut session).await? else { return Ok(None) };
    let row = sqlx::query(statement).bind(notice.user_id.as_str()).fetch_optional(&mut *session).await;
    let row = match row {
        // An id that is no value of the platform's type belongs to no account.
        Err(error) if sqlstate::of(&error).as_str().starts_with(DATA_EXCEPTION) => return Ok(None),
        row => row.context("failed to read an address")?,
    };
    session.keep();
    let Some(row) = row else { return Ok(None) };
    let email: Option<String> = row.try_get(0)?;
    Ok(email
        .filter(|email| !email.trim().is_empty())
        .map(|email| Contact { email, locale: row.try_get(1).ok() }))
}
