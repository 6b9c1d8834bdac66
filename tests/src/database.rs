//! Makes databases: one with everything in it, and quick copies of it.

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    platform::{self, SeedOptions},
    postgres::{Postgres, Role},
};

/// Makes a database with the reference platform's tables, empty; nothing happens if it is there already. Tells
/// whether it was made.
pub async fn make_platform(postgres: &Postgres, name: &str) -> anyhow::Result<bool> {
    let mut connection = postgres.connect(Role::Superuser, "postgres").await?;
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_catalog.pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .context("failed to look for a database")?;
    if there {
        return Ok(false);
    }
    let create = format!("create database \"{name}\" owner {}", Role::Owner.name());
    postgres.run(Role::Superuser, "postgres", create).await?;
    let pool = owner(postgres, name).await?;
    platform::create(&pool).await?;
    pool.close().await;
    Ok(true)
}

/// Makes a database with the reference platform's tables, the export's own tables, and what each role may do.
///
/// `grants` is the SQL that the catalogue generates for `export_state` and `export_read`.
pub async fn make(postgres: &Postgres, name: &str, grants: &str) -> anyhow::Result<()> {
    make_platform(postgres, name).await?;
    export_worker::migrate::migrate(&postgres.url(Role::Owner, name)).await?;
    postgres.run(Role::Owner, name, grants.to_owned()).await.context("failed to give the roles their rights")
}

/// Makes a copy of a database that nobody is connected to.
pub async fn copy(postgres: &Postgres, template: &str, name: &str) -> anyhow::Result<()> {
    let owner = Role::Owner.name();
    let create = format!("create database \"{name}\" template \"{template}\" owner {owner}");
    postgres.run(Role::Superuser, "postgres", create).await
}

/// Fills the reference platform with a few dozen users, one of them heavy.
pub async fn fill(postgres: &Postgres, name: &str) -> anyhow::Result<()> {
    let options = SeedOptions { users: 36, heavy_runs: 100_000, markers: false, ..SeedOptions::default() };
    let pool = owner(postgres, name).await?;
    platform::seed(&pool, &options).await?;
    pool.close().await;
    Ok(())
}

async fn owner(postgres: &Postgres, name: &str) -> anyhow::Result<PgPool> {
    let url = postgres.url(Role::Owner, name);
    let pool = PgPoolOptions::new().max_connections(1).connect(url.expose_secret()).await;
    pool.with_context(|| format!("failed to connect to the database `{name}`"))
}
