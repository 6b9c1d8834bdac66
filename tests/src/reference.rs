//! The contents of the reference platform's database.

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::PgPool;

use crate::{
    platform::{self, SeedOptions},
    postgres::Role,
    stack::Servers,
};

/// A few dozen users, the first of them heavy.
const DEMO: SeedOptions = SeedOptions { seed: 1, users: 36, heavy_runs: 100_000, markers: false };

/// Fills the reference platform with a few dozen users, one of them heavy.
pub async fn fill(servers: &Servers, database: &str) -> anyhow::Result<()> {
    let owner = servers.postgres.url(Role::Owner, database);
    let owner = PgPool::connect(owner.expose_secret()).await.context("failed to connect as the owner")?;
    platform::seed(&owner, &DEMO).await?;
    owner.close().await;
    Ok(())
}
