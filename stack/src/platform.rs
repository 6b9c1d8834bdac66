//! The reference platform of the demo and the tests: its schema, and realistic and hostile data.

use anyhow::Context as _;
use sqlx::PgPool;
use uuid::Uuid;

const SCHEMA: [&str; 4] = [
    include_str!("../../migrations/platform/0001_types.sql"),
    include_str!("../../migrations/platform/0002_users.sql"),
    include_str!("../../migrations/platform/0003_projects.sql"),
    include_str!("../../migrations/platform/0004_work.sql"),
];

const SEED: &str = include_str!("platform/seed.sql");

/// The accounts with a special role, and at least two others.
const FEWEST_USERS: u32 = 6;

/// The amount and kind of data.
#[derive(Clone, Copy, Debug)]
pub struct SeedOptions {
    /// The same seed makes the same rows.
    pub seed: u64,
    /// Accounts; twice as many projects.
    pub users: u32,
    /// Pipeline runs of the heavy account, beside the few that every project has.
    pub heavy_runs: u32,
    /// Whether every text cell holds its own marker, `mk-<table>-<column>-<number>-km`.
    pub markers: bool,
}

impl Default for SeedOptions {
    fn default() -> Self {
        Self { seed: 1, users: 24, heavy_runs: 0, markers: true }
    }
}

/// The accounts that were made.
#[derive(Clone, Debug)]
pub struct Seeded {
    /// All accounts, by number.
    pub users: Vec<Uuid>,
    /// The account with many pipeline runs; owner of five projects, member of two.
    pub heavy: Uuid,
    /// The account that has nothing beyond its own row.
    pub lonely: Uuid,
    /// The account that has left the heavy account's first project.
    pub former: Uuid,
    /// The account that has left that project and come back.
    pub returned: Uuid,
}

/// Creates the schema in an empty database.
pub async fn create(owner: &PgPool) -> anyhow::Result<()> {
    for part in SCHEMA {
        sqlx::raw_sql(part).execute(owner).await.context("failed to create the reference schema")?;
    }
    Ok(())
}

/// Fills the schema. The server makes the rows, so a hundred thousand take seconds.
pub async fn seed(owner: &PgPool, options: &SeedOptions) -> anyhow::Result<Seeded> {
    let mut transaction = owner.begin().await.context("failed to begin the seeding")?;
    let users = options.users.max(FEWEST_USERS);
    sqlx::query(
        "select set_config('seed.seed', $1, true), set_config('seed.users', $2, true), set_config('seed.projects', $3, true),
            set_config('seed.heavy_runs', $4, true), set_config('seed.markers', $5, true),
            -- So that the text of every value is the same wherever it is made.
            set_config('TimeZone', 'UTC', true), set_config('standard_conforming_strings', 'on', true), set_config('jit', 'off', true)",
    )
    .bind(options.seed.to_string())
    .bind(users.to_string())
    .bind((users * 2).to_string())
    .bind(options.heavy_runs.to_string())
    .bind(if options.markers { "on" } else { "off" })
    .execute(&mut *transaction)
    .await
    .context("failed to set what to seed")?;
    sqlx::raw_sql(SEED).execute(&mut *transaction).await.context("failed to seed the reference schema")?;
    let ids: Vec<Uuid> =
        sqlx::query_scalar("select pg_temp.id('user', n) from generate_series(1, $1::bigint) n order by n")
            .bind(i64::from(users))
            .fetch_all(&mut *transaction)
            .await
            .context("failed to read who was seeded")?;
    sqlx::raw_sql("drop function pg_temp.id")
        .execute(&mut *transaction)
        .await
        .context("failed to tidy up")?;
    transaction.commit().await.context("failed to commit the seeding")?;
    // Without statistics the planner assumes that the tables are empty.
    sqlx::raw_sql("analyze").execute(owner).await.context("failed to analyze the reference schema")?;
    let account = |number: usize| ids.get(number - 1).copied().context("too few accounts were seeded");
    Ok(Seeded {
        heavy: account(1)?,
        lonely: account(2)?,
        former: account(3)?,
        returned: account(4)?,
        users: ids,
    })
}
