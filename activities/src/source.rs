//! Connects to the platform's database, as `export_read` and never to write.

use std::time::Duration;

use anyhow::anyhow;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool,
    pool::PoolConnectionMetadata,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::session::{self, Kind};

/// A connection that rested longer is asked whether it lives before it is used; a busy one spares the round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);

/// How long a session may take to answer when it is given back.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A connection that rests longer is closed: under the role's `CONNECTION LIMIT` another worker may wait for it.
const KEPT_IDLE: Duration = Duration::from_secs(10);

/// Makes a pool of read connections. It opens none: the database may be down for now.
///
/// `most` is the number of exports at a time, each of which holds one connection; `statement_timeout` is how long one
/// of its statements may run, whatever is set for role or database.
pub fn pool(
    url: &SecretString,
    most: u32,
    acquire_timeout: Duration,
    statement_timeout: Duration,
) -> anyhow::Result<PgPool> {
    // The error is dropped: it may quote a part of the URL.
    let options: PgConnectOptions = url.expose_secret().parse().map_err(|_| {
        anyhow!("the URL of the source database is not of the form postgres://user:password@host/database")
    })?;
    let options = options.application_name("export-worker").disable_statement_logging();
    Ok(of_sessions(Kind::Reads { statement: statement_timeout })
        .max_connections(most)
        .acquire_timeout(acquire_timeout)
        .idle_timeout(KEPT_IDLE)
        .connect_lazy_with(session::options(options)))
}

/// Begins a pool whose sessions have our settings, and in which no session that its server has left keeps its place.
pub fn of_sessions(kind: Kind) -> PgPoolOptions {
    let options = PgPoolOptions::new()
        .test_before_acquire(false)
        .before_acquire(ask_if_rested)
        .after_connect(move |connection, _| Box::pin(session::begin(connection, kind)));
    match kind {
        Kind::Calls { .. } => options.after_release(|connection, _| Box::pin(ask_after_use(connection))),
        // An export that fails cuts its session by itself.
        Kind::Reads { .. } => options,
    }
}

/// A call that was given up may still be under way: a session that does not answer soon is cut.
async fn ask_after_use(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let asked = tokio::time::timeout(ANSWERS_WITHIN, connection.ping()).await;
    asked.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))?;
    Ok(true)
}

/// For a pool that does not test each connection before it is used: asks one that has rested whether it lives.
fn ask_if_rested(
    connection: &mut PgConnection,
    meta: PoolConnectionMetadata,
) -> BoxFuture<'_, sqlx::Result<bool>> {
    Box::pin(async move {
        if meta.idle_for > TRUSTED_IDLE {
            connection.ping().await?;
        }
        Ok(true)
    })
}
