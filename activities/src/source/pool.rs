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

use crate::source::session::{self, Kind};

/// A connection that was idle for longer is tested before it is used. A busy one saves the round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);

/// How long a session may take to answer when it returns to the pool.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A connection that is idle for longer is closed: under the role's `CONNECTION LIMIT` another worker may wait for it.
const KEPT_IDLE: Duration = Duration::from_secs(10);

/// Makes a pool of read connections. It opens none: the database may be down for now.
///
/// `most` is the maximum number of exports at a time; each holds one connection. `statement_timeout` limits each of its
/// statements, whatever is set for role or database.
pub fn of_source(
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

/// Starts a pool whose sessions have our settings, and which keeps no session whose server has gone.
pub fn of_sessions(kind: Kind) -> PgPoolOptions {
    let options = PgPoolOptions::new()
        .test_before_acquire(false)
        .before_acquire(ask_if_rested)
        .after_connect(move |connection, _| Box::pin(session::begin(connection, kind)));
    match kind {
        Kind::Calls { .. } => options.after_release(|connection, _| Box::pin(ask_after_use(connection))),
        // An export that fails closes its session itself.
        Kind::Reads { .. } => options,
    }
}

/// Closes a session that does not answer soon: a call that was given up may still be under way.
async fn ask_after_use(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let asked = tokio::time::timeout(ANSWERS_WITHIN, connection.ping()).await;
    asked.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))?;
    Ok(true)
}

/// Tests a connection that was idle, for a pool that does not test each connection before it is used.
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
