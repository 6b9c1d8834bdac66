//! Opens sessions with known values of all settings that results or safety depend on.
//!
//! A role, a database, a server's configuration and a pooler may each set something else. So the first message of each
//! session sets them, and the transaction that reads an account sets them again. Options of the start-up message are no
//! substitute: poolers drop them or refuse the session.

use std::{sync::LazyLock, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Row as _, SqlStr, postgres::PgConnectOptions,
};

use crate::{
    catalogue::sql::{SqlPart, statement},
    failure::{Failure, sqlstate},
};

/// A connection must not outlive its peer by more than about two minutes, whichever of our programs holds it.
const KEEPALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "60"), ("tcp_keepalives_interval", "10"), ("tcp_keepalives_count", "6")];

/// The settings of each session, whatever it is for.
///
/// - `row_security=off`: a policy is an error instead of an export that silently misses rows.
/// - `search_path` is empty: names are qualified, and types are always spelt in the same way.
/// - `quote_all_identifiers`: with it the names of types would be quoted, and none would fit the catalogue.
/// - `transform_null_equals`, `gin_fuzzy_search_limit`, `array_nulls`: which rows a query of the catalogue finds.
/// - the text of values: time zone, styles, locales, digits, encodings.
/// - `client_min_messages`: a notice may hold a value, and would be logged.
/// - `exit_on_error` and the timeouts: only our own limits end a session.
/// - `client_connection_check_interval`: a closed connection ends its query too, even a query that computes for hours
///   before it writes and would notice.
const SETTINGS: [(&str, &str); 25] = [
    ("row_security", "off"),
    ("search_path", ""),
    ("default_transaction_isolation", "read committed"),
    ("quote_all_identifiers", "off"),
    ("transform_null_equals", "off"),
    ("gin_fuzzy_search_limit", "0"),
    ("array_nulls", "on"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "error"),
    ("exit_on_error", "off"),
    ("idle_session_timeout", "0"),
    ("lock_timeout", "0"),
    ("tcp_user_timeout", "0"),
    ("client_connection_check_interval", "2s"),
    ("jit", "off"),
];

/// How many prepared statements a session keeps. A catalogue has one for each entity: if they did not all fit, each would
/// be prepared again for each account.
const STATEMENTS: usize = 1024;

/// Settings that only some versions have, 17 and later or certain minor releases.
const IF_KNOWN: [(&str, &str); 2] = [("transaction_timeout", "0"), ("restrict_nonsystem_relation_kind", "")];

const TOO_MANY_CONNECTIONS: &str = "53300";

/// The text that sets everything again within a transaction.
static IN_TRANSACTION: LazyLock<SqlStr> = LazyLock::new(|| set("set local ", &SETTINGS));

/// Returns the statements that set everything again within a transaction: a pooler may have chosen another session for
/// it.
pub(crate) fn in_transaction() -> &'static str {
    IN_TRANSACTION.as_str()
}

/// The kinds of sessions, with their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Works on requests and events, or inspects any database. A statement and an open transaction end after these
    /// limits.
    Calls {
        /// The longest statement.
        statement: Duration,
        /// The longest wait for a lock.
        lock: Duration,
    },
    /// Reads accounts and never writes.
    Reads {
        /// The longest statement, and the longest pause between two.
        statement: Duration,
    },
}

impl Kind {
    fn settings(self) -> Vec<(&'static str, String)> {
        let ms = |time: Duration| format!("{}ms", time.as_millis());
        match self {
            Self::Calls { statement, lock } => vec![
                ("statement_timeout", ms(statement)),
                ("idle_in_transaction_session_timeout", ms(statement)),
                ("lock_timeout", ms(lock)),
                ("default_transaction_read_only", "off".to_owned()),
            ],
            Self::Reads { statement } => vec![
                ("statement_timeout", ms(statement)),
                ("idle_in_transaction_session_timeout", ms(statement)),
                ("default_transaction_read_only", "on".to_owned()),
            ],
        }
    }
}

/// Removes from the options what the start-up message would set, because we set it ourselves, and makes room for our
/// statements.
pub fn options(options: PgConnectOptions) -> PgConnectOptions {
    options.extra_float_digits(None).statement_cache_capacity(STATEMENTS)
}

/// Opens one session.
pub async fn connect(options: &PgConnectOptions, kind: Kind) -> sqlx::Result<PgConnection> {
    let mut connection = options.connect().await?;
    begin(&mut connection, kind).await?;
    Ok(connection)
}

/// Sets everything in the first message of a session.
///
/// # Errors
/// A setting that the server refuses is [`Failure::SessionSetting`], by name.
pub async fn begin(connection: &mut PgConnection, kind: Kind) -> sqlx::Result<()> {
    let own = kind.settings();
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let settings: Vec<_> = SETTINGS.into_iter().chain(KEEPALIVE).chain(own).collect();
    let Err(error) = sqlx::raw_sql(with_optional(&settings)).execute(&mut *connection).await else {
        return Ok(());
    };
    // One by one, to name the refused setting.
    for setting in settings {
        if let Err(error) = sqlx::raw_sql(set("set ", &[setting])).execute(&mut *connection).await
            && error.as_database_error().is_some()
        {
            let (setting, sqlstate) = (setting.0.to_owned(), sqlstate::of(&error));
            return Err(sqlx::Error::Configuration(Box::new(Failure::SessionSetting { setting, sqlstate })));
        }
    }
    Err(error)
}

/// Returns whether two open sessions share one session of the server: a pooler may give each transaction another one.
pub async fn share_a_backend(one: &mut PgConnection, other: &mut PgConnection) -> sqlx::Result<bool> {
    const WHO: &str = "select pg_catalog.pg_backend_pid()";
    let first: i32 = sqlx::raw_sql(WHO).fetch_one(&mut *one).await?.try_get(0)?;
    let second: i32 = sqlx::raw_sql(WHO).fetch_one(&mut *other).await?.try_get(0)?;
    Ok(first == second)
}

/// Opens a session and makes sure that no pooler shares it, before anything is set in it.
///
/// # Errors
/// Behind a pooler that changes sessions, [`Failure::SharedSession`].
pub async fn probe(options: &PgConnectOptions, kind: Kind) -> sqlx::Result<PgConnection> {
    let mut one = options.connect().await?;
    match options.connect().await {
        Ok(mut other) => {
            let shared = share_a_backend(&mut one, &mut other).await?;
            other.close().await?;
            if shared {
                return Err(sqlx::Error::Configuration(Box::new(Failure::SharedSession)));
            }
        }
        // Skip the check where the role's CONNECTION LIMIT is reached: a second session is not worth an outage.
        Err(error) if sqlstate::of(&error) == TOO_MANY_CONNECTIONS => {}
        Err(error) => return Err(error),
    }
    begin(&mut one, kind).await?;
    Ok(one)
}

fn set(command: &'static str, settings: &[(&str, &str)]) -> SqlStr {
    let parts = settings.iter().flat_map(|(name, value)| {
        [
            SqlPart::Sql(command),
            SqlPart::Name(name),
            SqlPart::Sql(" = "),
            SqlPart::Literal(value),
            SqlPart::Sql("; "),
        ]
    });
    statement(&parts.collect::<Vec<_>>())
}

fn with_optional(settings: &[(&str, &str)]) -> SqlStr {
    let all = set("set ", settings);
    let mut parts = vec![SqlPart::Trusted(all.as_str())];
    for (name, value) in &IF_KNOWN {
        parts.extend([
            SqlPart::Sql("select pg_catalog.set_config("),
            SqlPart::Literal(name),
            SqlPart::Sql(", "),
            SqlPart::Literal(value),
            SqlPart::Sql(", false) where pg_catalog.current_setting("),
            SqlPart::Literal(name),
            SqlPart::Sql(", true) is not null; "),
        ]);
    }
    statement(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_set_once_and_the_transaction_repeats_them() {
        let own = Kind::Reads { statement: Duration::from_secs(60) }.settings();
        let names = SETTINGS.iter().chain(&KEEPALIVE).chain(&IF_KNOWN).map(|(name, _)| *name);
        let mut names: Vec<_> = names.chain(own.iter().map(|(name, _)| *name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(in_transaction().contains("set local \"row_security\" = E'off'; "), "{}", in_transaction());
    }
}
