//! The platform's database. It is read in sessions with known settings, one snapshot an account, and never written.

pub mod replica;
pub mod snapshot;

use std::time::Duration;

use anyhow::anyhow;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use crate::database::{pool::Pool, session::Kind};

/// Makes a pool of read sessions, as `export_read` and never to write.
///
/// `most` is the maximum number of exports at a time; each holds one session. `statement_timeout` limits each of its
/// statements, whatever is set for role or database.
pub fn pool(
    url: &SecretString,
    most: u32,
    acquire_timeout: Duration,
    statement_timeout: Duration,
) -> anyhow::Result<Pool> {
    // The error is dropped: it may quote a part of the URL.
    let options: PgConnectOptions = url.expose_secret().parse().map_err(|_| {
        anyhow!("the URL of the source database is not of the form postgres://user:password@host/database")
    })?;
    let options = options.application_name("export-worker").disable_statement_logging();
    Ok(Pool::new(options, Kind::Reads { statement: statement_timeout }, most, acquire_timeout))
}
