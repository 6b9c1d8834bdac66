//! The store: signing key, whose bucket it is, and the whole way of an archive through it.

mod link;
mod probe;

use chrono::{DateTime, Utc};
use export_activities::{
    installation::{self, Standing},
    store::{Store, TemporaryCredentials},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::Line;
use crate::{
    config::Config,
    connect::{
        self,
        explain::{self, Explained},
    },
};

/// The store's clock, read once.
pub(super) struct Clock {
    /// What it said.
    pub(super) store: DateTime<Utc>,
    /// What ours said then.
    pub(super) here: DateTime<Utc>,
}

/// Examines the store; gives its clock if it told the time.
pub(super) async fn examine(
    config: &Config,
    state: Option<&PgPool>,
    adopt: bool,
    lines: &mut Vec<Line>,
) -> Option<Clock> {
    let store = match connect::store(config).await {
        Ok(store) => store,
        Err(error) => {
            let explained =
                Explained::new(format!("{error:#}"), "set EXPORT_BUCKET, EXPORT_S3_ENDPOINT and AWS_*");
            lines.push(Line::failed("store", explained));
            return None;
        }
    };
    let signing = signing(&store).await;
    let may_sign = signing.is_ok();
    lines.push(signing);
    let id = match state {
        Some(state) => sqlx::query_scalar::<_, Uuid>("select id from public.data_export_installation")
            .fetch_one(state)
            .await
            .ok(),
        None => None,
    };
    let Some(id) = id else {
        lines.push(Line::skipped("installation", "the database does not tell its id"));
        lines.push(Line::skipped("store", "it is not known whose bucket it is"));
        return None;
    };
    let owned = own(&store, id, adopt).await;
    let ours = owned.is_ok();
    lines.push(owned);
    if !ours || !may_sign {
        lines.push(Line::skipped(
            "store",
            "nothing is stored in a bucket that is not ours, or without a signing key",
        ));
        return None;
    }
    probe::go_through(config, &store, lines).await
}

async fn signing(store: &Store) -> Line {
    const CHECK: &str = "signing credentials";
    match store.check_signing().await {
        Ok(()) => Line::ok(CHECK, "they outlive a link"),
        Err(error) if error.is::<TemporaryCredentials>() => {
            let text = error.to_string();
            let (cause, remedy) =
                text.split_once("; ").unwrap_or((&text, "set EXPORT_SIGNING_ACCESS_KEY_ID"));
            Line::failed(CHECK, Explained::new(cause, remedy))
        }
        Err(error) => Line::failed(CHECK, explain::store(&error)),
    }
}

async fn own(store: &Store, id: Uuid, adopt: bool) -> Line {
    const CHECK: &str = "installation";
    if adopt && let Err(error) = installation::adopt(store, id).await {
        return Line::failed(CHECK, explain::store(&error));
    }
    match installation::look(store, id).await {
        Ok(None) => Line::ok(CHECK, format!("{id}; the bucket is empty and `run` will mark it")),
        Ok(Some(Standing::Ours | Standing::Written)) => {
            Line::ok(CHECK, format!("{id}, as the bucket's mark says"))
        }
        Ok(Some(standing)) => match standing.require_ours(store) {
            Ok(()) => Line::ok(CHECK, id.to_string()),
            Err(failure) => Line::failed(CHECK, explain::store(&failure.into())),
        },
        Err(error) => Line::failed(CHECK, explain::store(&error)),
    }
}
