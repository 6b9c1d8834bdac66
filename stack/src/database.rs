//! Makes a complete database, and quick copies of it.

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgPoolOptions;

use crate::{
    platform::{self, SeedOptions},
    servers::postgres::{Postgres, Role},
};

/// The data of the demo and the development stack: a few dozen users, one of them heavy.
pub const EXAMPLE: SeedOptions = SeedOptions { seed: 1, users: 36, heavy_runs: 100_000, markers: false };

/// Makes a database with the reference platform's tables and, with `seed`, its users. Does nothing if the database
/// exists.
pub async fn make_platform(
    postgres: &Postgres,
    name: &str,
    seed: Option<&SeedOptions>,
) -> anyhow::Result<()> {
    let mut connection = postgres.connect(Role::Superuser, "postgres").await?;
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_catalog.pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .context("failed to look for a database")?;
    if there {
        return Ok(());
    }
    // Use another name until it is complete, so that an interrupted attempt is not taken for a complete database.
    let draft = format!("{name}_draft");
    let create = format!("create database \"{draft}\" owner {}", Role::Owner.name());
    postgres.run(Role::Superuser, "postgres", format!("drop database if exists \"{draft}\"")).await?;
    postgres.run(Role::Superuser, "postgres", create).await?;
    let url = postgres.url(Role::Owner, &draft);
    let pool = PgPoolOptions::new().max_connections(1).connect(url.expose_secret()).await;
    let pool = pool.with_context(|| format!("failed to connect to the database `{draft}`"))?;
    platform::create(&pool).await?;
    if let Some(seed) = seed {
        platform::seed(&pool, seed).await?;
    }
    pool.close().await;
    let rename = format!("alter database \"{draft}\" rename to \"{name}\"");
    postgres.run(Role::Superuser, "postgres", rename).await
}

/// Makes a database with the reference platform's tables, the export's own tables, and the rights of each role.
///
/// `grants` is the SQL that the catalogue generates for `export_state` and `export_read`.
pub async fn make(postgres: &Postgres, name: &str, grants: &str) -> anyhow::Result<()> {
    make_platform(postgres, name, None).await?;
    export_worker::migrate::migrate(&postgres.url(Role::Owner, name)).await?;
    postgres.run(Role::Owner, name, grants.to_owned()).await.context("failed to give the roles their rights")
}

/// Makes a copy of a database without open connections.
pub async fn copy(postgres: &Postgres, template: &str, name: &str) -> anyhow::Result<()> {
    let owner = Role::Owner.name();
    let create = format!("create database \"{name}\" template \"{template}\" owner {owner}");
    postgres.run(Role::Superuser, "postgres", create).await
}
