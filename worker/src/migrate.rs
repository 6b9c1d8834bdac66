//! Tasks of the tables' owner: brings the export's own tables up to date, and grants the three roles their rights.
//!
//! The migrations are compiled in. They are recorded in `public.data_export_migrations` and not in sqlx's usual
//! table, which the platform that shares the database may use itself.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};

/// Time limit of the owner's connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Time limit of a statement's wait for a lock.
const LOCK_TIMEOUT: &str = "20s";
/// The table that records applied migrations.
const TABLE: &str = "public.data_export_migrations";

/// Applies the missing migrations as the role in `url`, which will own the tables. Returns their names.
///
/// Safe to run at any time and concurrently: the calls wait for each other. Fails without any change if an applied
/// migration differs from the compiled one.
pub async fn migrate(url: &SecretString) -> anyhow::Result<Vec<String>> {
    let mut connection = connect(url).await?;
    let missing = missing(&mut connection).await?;
    migrator().run(&mut connection).await.map_err(|error| match error {
        MigrateError::VersionMismatch(version) => anyhow::anyhow!(
            "migration {version} was applied with another text than this program has: use the release that applied it, \
             or undo the change in public.data_export_migrations; nothing was applied"
        ),
        MigrateError::VersionMissing(version) => anyhow::anyhow!(
            "migration {version} was applied by a newer release than this program: use that release; nothing was applied"
        ),
        error => anyhow::Error::new(error).context("failed to apply the migrations"),
    })?;
    connection.close().await.context("failed to close the connection")?;
    Ok(missing)
}

/// Runs SQL of `export-worker grants` as the role in `url`.
pub async fn run_sql(url: &SecretString, sql: String) -> anyhow::Result<()> {
    let mut connection = connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .context("failed to give the roles their rights")?;
    connection.close().await.context("failed to close the connection")
}

/// Connects as the owner of the tables.
pub(crate) async fn connect(url: &SecretString) -> anyhow::Result<PgConnection> {
    // The parser's own error may repeat the URL.
    let options = url.expose_secret().parse::<PgConnectOptions>();
    let options = options.map_err(|_| anyhow::anyhow!("EXPORT_OWNER_URL cannot be read"))?;
    // Without a limit, a forgotten lock would block a migration forever, and everyone behind it.
    let options = options.options([("lock_timeout", LOCK_TIMEOUT)]);
    let connected = tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(&options)).await;
    connected
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
        .context("failed to connect to the database as the owner of the tables")
}

/// Difference between the tables and this program.
#[derive(Debug, Default)]
pub struct Compared {
    /// Migrations of this program that are not applied.
    pub missing: Vec<String>,
    /// Versions that were applied with another text.
    pub changed: Vec<i64>,
    /// Versions that this program does not know: a newer release applied them.
    pub newer: Vec<i64>,
}

/// Compares the recorded migrations with the compiled ones.
pub async fn compare(connection: &mut PgConnection) -> anyhow::Result<Compared> {
    let missing = missing(&mut *connection).await?;
    let recorded: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select version, checksum from public.data_export_migrations where success order by version",
    )
    .fetch_all(connection)
    .await
    .context("failed to read the record of migrations")?;
    let migrator = migrator();
    let mut compared = Compared { missing, ..Default::default() };
    for (version, checksum) in recorded {
        match migrator.iter().find(|migration| migration.version == version) {
            None => compared.newer.push(version),
            Some(migration) if *migration.checksum != *checksum => compared.changed.push(version),
            Some(_) => {}
        }
    }
    Ok(compared)
}

/// Returns the names of the migrations that are not applied yet.
pub async fn missing(connection: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let recorded: bool =
        sqlx::query_scalar("select pg_catalog.to_regclass('public.data_export_migrations') is not null")
            .fetch_one(&mut *connection)
            .await
            .context("failed to look for the record of migrations")?;
    let applied: Vec<i64> = if recorded {
        sqlx::query_scalar("select version from public.data_export_migrations where success")
            .fetch_all(connection)
            .await
            .context("failed to read the record of migrations")?
    } else {
        Vec::new()
    };
    let applied: BTreeSet<_> = applied.into_iter().collect();
    let missing = migrator();
    let missing = missing.iter().filter(|migration| !applied.contains(&migration.version));
    Ok(missing.map(|migration| format!("{} {}", migration.version, migration.description)).collect())
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../migrations/exports");
    migrator.dangerous_set_table_name(TABLE);
    migrator
}
