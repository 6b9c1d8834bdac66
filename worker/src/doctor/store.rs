//! The store: the signing key, the owner of the bucket, and the whole path of an archive.

mod link;
mod probe;

use chrono::{DateTime, Utc};
use export_activities::{
    database::pool::Pool,
    fulfil::presign::Links,
    requests::archives::{Installation, read_installation},
    store::{Store, TemporaryCredentials, installation, lifecycle::Lifecycle},
};

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
    /// Time on the store's clock.
    pub(super) store: DateTime<Utc>,
    /// Time on our clock at that moment.
    pub(super) here: DateTime<Utc>,
}

/// Checks the store. Returns its clock if it reported the time.
pub(super) async fn examine(
    config: &Config,
    state: Option<&Pool>,
    adopt: bool,
    lines: &mut Vec<Line>,
) -> Option<Clock> {
    let store = match connect::store_for_command(config).await {
        Ok(store) => store,
        Err(error) => {
            let explained =
                Explained::new(format!("{error:#}"), "set EXPORT_BUCKET, EXPORT_S3_ENDPOINT and AWS_*");
            lines.push(Line::failed("store", explained));
            return None;
        }
    };
    let signing = signing(&store, &config.links).await;
    let may_sign = signing.is_ok();
    lines.push(signing);
    let Some(state) = state else {
        lines.push(Line::skipped("installation", "the database does not answer"));
        lines.push(Line::skipped("store", "it is not known whose bucket it is"));
        return None;
    };
    let installation = match read_installation(state).await {
        Ok(installation) => installation,
        Err(error) => {
            lines.push(Line::failed("installation", explain::database(&error, "EXPORT_DATABASE_URL")));
            lines.push(Line::skipped("store", "it is not known whose bucket it is"));
            return None;
        }
    };
    let owned = check_installation(state, &store, &installation, adopt).await;
    let ours = owned.is_ok();
    lines.push(owned);
    if !ours || !may_sign {
        lines.push(Line::skipped(
            "store",
            "nothing is stored in a bucket that is not ours, or without a signing key",
        ));
        return None;
    }
    lines.push(lifecycle(&store).await);
    probe::go_through(config, &store, lines).await
}

/// Reports what the bucket's own rules do to archives.
async fn lifecycle(store: &Store) -> Line {
    const CHECK: &str = "lifecycle";
    const REMEDY: &str = "`export-worker lifecycle apply` sets them";
    match store.lifecycle().await {
        Ok(Some(Lifecycle { harmful, .. })) if !harmful.is_empty() => Line::failed(
            CHECK,
            Explained::new(harmful.join("; "), "change or remove it in the bucket's rules"),
        ),
        Ok(Some(Lifecycle { is_ours: true, .. })) => {
            Line::ok(CHECK, "the store itself deletes what was left, after nine days")
        }
        Ok(Some(_)) => Line::ok(CHECK, format!("no rule deletes what was left if no worker runs; {REMEDY}")),
        Ok(None) => Line::skipped(CHECK, "the store has no such rules"),
        Err(error) => Line::warning(CHECK, explain::store(&error)),
    }
}

async fn signing(store: &Store, links: &Links) -> Line {
    const CHECK: &str = "signing credentials";
    if *links != Links::Presigned {
        return Line::ok(CHECK, "not needed: the portal makes a link for each click");
    }
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

/// Compares the bucket's mark and location with the database. Writes the mark only to adopt the bucket.
async fn check_installation(state: &Pool, store: &Store, installation: &Installation, adopt: bool) -> Line {
    const CHECK: &str = "installation";
    let (id, location) = (installation.id, store.location());
    let checked = async {
        if !adopt && !installation.has_archives && installation::read_ownership(store, id).await?.is_none() {
            installation::require_location(installation.location.as_deref(), store)?;
            return Ok(false);
        }
        if adopt {
            installation::require_location(installation.location.as_deref(), store)?;
            installation::adopt(store, id).await?;
        }
        installation::check_bucket(state, store).await?;
        anyhow::Ok(true)
    };
    match checked.await {
        Ok(true) => {
            Line::ok(CHECK, format!("{id} in `{location}`, as the bucket's mark and the database say"))
        }
        Ok(false) => Line::ok(CHECK, format!("{id}; `{location}` is empty and `run` will mark it")),
        Err(error) => Line::failed(CHECK, explain::store(&error)),
    }
}
