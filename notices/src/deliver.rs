//! The loop that delivers: takes what is due, sends it, and marks what became of it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use export_activities::{
    catalogue::Catalogue,
    database::pool::Pool,
    failure::{judge, sqlstate},
};
use futures::{StreamExt as _, stream};
use sqlx::{Row as _, SqlStr};
use tokio::{
    sync::OnceCell,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff,
    mail::{self, Contact, Mails},
    outbox::{self, Channel, Notice, Outcome},
    webhook::Webhooks,
};

/// Between two rounds while nothing is due. Such a round is one read of a small index.
const IDLE: Duration = Duration::from_secs(2);
/// Notices that are taken at a time, and sent at a time. With the time limit of each, all that are taken are sent within their
/// lease.
const BATCH: i64 = 32;
const AT_A_TIME: usize = 8;
/// Time limit of one try, with the address that a mail needs.
const TRY: Duration = Duration::from_secs(25);

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

/// Delivers until `stop`; what is being sent by then is still sent. `source` is asked for addresses.
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
            let source = &source;
            Delivery {
                state: &state,
                route: Route::Mail { mails, source, catalogue: &catalogue },
                stop: &stop,
            }
            .serve()
            .await;
        }
    };
    let webhooks = async {
        if let Some(webhooks) = &webhooks {
            Delivery { state: &state, route: Route::Webhook(webhooks), stop: &stop }.serve().await;
        }
    };
    tokio::join!(mails, webhooks);
}

/// How the notices of a channel go out.
enum Route<'w> {
    Mail { mails: &'w Mails, source: &'w Pool, catalogue: &'w Catalogue },
    Webhook(&'w Webhooks),
}

/// The statement that reads an address, made once in each round: the platform may change its tables.
type AddressStatement = OnceCell<Option<SqlStr>>;

/// Delivers the notices of one channel. The channels do not wait for each other.
struct Delivery<'w> {
    state: &'w Pool,
    route: Route<'w>,
    stop: &'w CancellationToken,
}

impl Delivery<'_> {
    fn channel(&self) -> Channel {
        match self.route {
            Route::Mail { .. } => Channel::Mail,
            Route::Webhook(_) => Channel::Webhook,
        }
    }

    async fn serve(&self) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let ended = self.round(failures).await;
            failures = match &ended {
                Ok(Round::Idle | Round::Delivered) => 0,
                Ok(Round::Away(code)) => {
                    if failures == 0 {
                        tracing::warn!(
                            error.code = code,
                            "Notices ({}) wait, because what they need does not answer",
                            self.channel().as_str()
                        );
                    }
                    failures + 1
                }
                Err(error) => {
                    tracing::warn!(
                        error.chain = %judge(error),
                        "Notices ({}) could not be delivered; they are retried",
                        self.channel().as_str()
                    );
                    failures + 1
                }
            };
            let wait = match ended {
                Ok(Round::Delivered) => continue,
                Ok(Round::Idle) => IDLE,
                Ok(Round::Away(_)) | Err(_) => backoff::rest(failures),
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn round(&self, failures: u32) -> Result<Round> {
        // After a failure one notice finds out whether the server is back.
        let most = if failures == 0 { BATCH } else { 1 };
        let taken = outbox::take(self.state, self.channel(), most).await?;
        if taken.is_empty() {
            return Ok(Round::Idle);
        }
        let (statement, rest) = (AddressStatement::new(), backoff::rest(failures + 1));
        let outcomes: Vec<Result<Outcome>> = stream::iter(taken)
            .map(|notice| self.deliver(notice, &statement, rest))
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let outcomes: Vec<_> = outcomes.into_iter().collect::<Result<_>>()?;
        let away = outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Away(code) => Some(code),
            _ => None,
        });
        Ok(away.map_or(Round::Delivered, Round::Away))
    }

    /// Sends one notice and marks what became of it.
    async fn deliver(&self, notice: Notice, statement: &AddressStatement, rest: Duration) -> Result<Outcome> {
        let channel = self.channel().as_str();
        let outcome = if self.stop.is_cancelled() {
            Outcome::Away("stopped")
        } else {
            let sent = timeout(TRY, self.send(&notice, statement)).await;
            sent.unwrap_or(Ok(Outcome::Away("timeout"))).unwrap_or_else(|error| {
                tracing::warn!(
                    notice.id = %notice.id, error.chain = %judge(&error),
                    "A notice ({channel}) could not be made; it is retried"
                );
                Outcome::Away("unprepared")
            })
        };
        if let Outcome::Pause(because) = &outcome {
            tracing::error!("Notices ({channel}) are paused: {because}");
            outbox::pause(self.state, self.channel(), because).await?;
        }
        outbox::mark(self.state, &notice, &outcome, rest).await?;
        if let Outcome::Dead(code) = &outcome {
            tracing::warn!(
                notice.id = %notice.id, request.id = %notice.request_id, error.code = code,
                "A notice ({channel}, {}) is given up", notice.topic.as_str()
            );
        }
        Ok(outcome)
    }

    async fn send(&self, notice: &Notice, statement: &AddressStatement) -> Result<Outcome> {
        match &self.route {
            Route::Webhook(webhooks) => webhooks.send(notice).await,
            Route::Mail { mails, source, catalogue } => {
                if let Some(code) = mail::reason_to_drop(notice) {
                    return Ok(Outcome::Dropped(code));
                }
                match contact(notice, source, catalogue, statement).await? {
                    Some(contact) => mails.send(notice, &contact).await,
                    None => Ok(Outcome::Dropped("no_address")),
                }
            }
        }
    }
}

/// What came of one round.
enum Round {
    /// Nothing was due.
    Idle,
    Delivered,
    /// Something did not answer.
    Away(&'static str),
}

/// Reads from the platform where the person gets mail now: a changed address counts, and none is kept here.
async fn contact(
    notice: &Notice,
    source: &Pool,
    catalogue: &Catalogue,
    statement: &AddressStatement,
) -> Result<Option<Contact>> {
    let mut session = source.acquire().await.context("failed to reach the source for an address")?;
    let statement = statement.get_or_try_init(|| catalogue.contact_statement(&mut session)).await?.clone();
    let row = match statement {
        None => None,
        Some(statement) => {
            let row =
                sqlx::query(statement).bind(notice.user_id.as_str()).fetch_optional(&mut *session).await;
            match row {
                // An id that is no value of the platform's type belongs to no account.
                Err(error) if sqlstate::of(&error).as_str().starts_with(DATA_EXCEPTION) => None,
                row => row.context("failed to read an address")?,
            }
        }
    };
    session.keep();
    let Some(row) = row else { return Ok(None) };
    let email: Option<String> = row.try_get(0)?;
    let email = email.filter(|email| !email.trim().is_empty());
    Ok(email.map(|email| Contact { email, locale: row.try_get(1).ok() }))
}
