//! Connections to the platform's database: read only, with every setting that a faithful export depends on.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, Result};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// A pool that hands out nothing for this long is a fault of the system.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// What each read session is told when it begins. Values look the way `to_json` is documented to make them only
/// under these; and with `row_security=off` a policy is an error instead of silently missing rows.
const SETTINGS: [(&str, &str); 10] = [
    ("row_security", "off"),
    ("default_transaction_read_only", "on"),
    ("search_path", ""),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("jit", "off"),
];

/// Makes the pool of read connections; it connects when the first one is asked for.
pub fn pool(url: &SecretString, max_connections: u32) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(url.expose_secret())
        .map_err(|_| anyhow::anyhow!("it is no PostgreSQL URL (postgres://user:password@host:port/database)"))
        .context("failed to read `EXPORT_SOURCE_URL`")?
        .options(SETTINGS)
        .application_name("export-worker source");
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options))
}
