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

/// The settings that every value and every safety of an export depends on.
///
/// - `row_security=off`: a policy is an error instead of an export that silently misses rows.
/// - `search_path` is empty: names are qualified, and types are always spelt in the same way.
/// - `client_connection_check_interval`: a connection that is cut ends its query too, even one that computes for hours
///   before it writes and would notice.
/// - the rest fixes the text of values, whatever role or database is set to.
const SETTINGS: [(&str, &str); 10] = [
    ("row_security", "off"),
    ("default_transaction_read_only", "on"),
    ("search_path", ""),
    ("client_connection_check_interval", "2s"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("jit", "off"),
];

/// A connection that rested longer is asked whether it lives before it is used; a busy one spares the round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);

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
    let options = options
        .options(SETTINGS)
        .options([("statement_timeout", format!("{}ms", statement_timeout.as_millis()))])
        .extra_float_digits(1)
        .application_name("export-worker")
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(acquire_timeout)
        .idle_timeout(KEPT_IDLE)
        .test_before_acquire(false)
        .before_acquire(ask_if_rested);
    Ok(pool.connect_lazy_with(options))
}

/// For a pool that does not test each connection before it is used: asks one that has rested whether it lives.
pub fn ask_if_rested(
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
