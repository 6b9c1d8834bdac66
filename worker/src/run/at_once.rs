//! Watches for requests that start at once, and has them served.
//!
//! The database notifies of each. Once a minute the worker also looks for those that were missed, so that no notification
//! is needed. Every worker does both; one run serves them all.

use std::time::Duration;

use anyhow::Result;
use export_activities::{
    database::pool::Pool,
    failure::judge,
    requests::{call::call, pending},
};
use temporalio_client::Client;
use tokio::time::{sleep, timeout};

use crate::temporal::at_once;

/// The channel of the notifications.
const CHANNEL: &str = "data_export_at_once";
/// Between two looks for what was missed; also how soon a change of the policy counts.
const LOOK: Duration = Duration::from_secs(60);
/// Requests that are made within this time are one signal.
const GATHER: Duration = Duration::from_millis(100);

/// Watches until it is dropped.
pub(super) async fn watch(state: Pool, client: Client, task_queue: String) {
    loop {
        if let Err(error) = listen(&state, &client, &task_queue).await {
            tracing::warn!(
                error.chain = %judge(&error),
                "Requests that start at once are looked for once a minute, until notifications arrive again"
            );
            look(&state, &client, &task_queue, Told::No).await;
            sleep(LOOK).await;
        }
    }
}

async fn listen(state: &Pool, client: &Client, task_queue: &str) -> Result<()> {
    let mut listener = state.listen(CHANNEL).await?;
    look(state, client, task_queue, Told::No).await;
    loop {
        let Ok(heard) = timeout(LOOK, listener.try_recv()).await else {
            look(state, client, task_queue, Told::No).await;
            continue;
        };
        if heard?.is_none() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        // The first one at once; those that follow closely together.
        look(state, client, task_queue, Told::Yes).await;
        sleep(GATHER).await;
        if std::iter::from_fn(|| listener.next_buffered()).count() > 0 {
            look(state, client, task_queue, Told::Yes).await;
        }
    }
}

/// Whether the database told of a new request. Only then a run that goes on is told, too: each signal is in its history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    No,
}

/// Has the requests served that wait, if there are any.
async fn look(state: &Pool, client: &Client, task_queue: &str, told: Told) {
    let asked = async {
        if call(pending::is_asked_at_once(state)).await? {
            match told {
                Told::Yes => at_once::ask(client, task_queue).await?,
                Told::No => drop(at_once::start(client, task_queue).await?),
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    if let Err(error) = asked.await {
        tracing::warn!(
            error.chain = %judge(&error),
            "Requests that start at once could not be handed to Temporal; they are looked for again in a minute"
        );
    }
}
