//! The reference platform and its accounts, read as an attempt reads them.

use export_activities::{
    catalogue::Catalogue,
    database::pool::Pool,
    pulse::Pulse,
    source::snapshot::{self, Account, Snapshot},
};
use export_stack::platform::{self, SeedOptions, Seeded};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::database::{Database, database};

pub(crate) async fn reference(options: SeedOptions) -> (Database, Catalogue, Seeded) {
    let database = database().await;
    platform::create(&database.owner).await.unwrap();
    let catalogue = Catalogue::builtin().unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(catalogue.grants())).execute(&database.owner).await.unwrap();
    let seeded = platform::seed(&database.owner, &options).await.unwrap();
    (database, catalogue, seeded)
}

pub(crate) fn account(user: Uuid) -> Account {
    Account { request_id: Uuid::new_v4(), user_id: user.into() }
}

pub(crate) async fn open(source: &Pool, catalogue: &Catalogue, user: Uuid) -> anyhow::Result<Snapshot> {
    snapshot::open(source, catalogue, &account(user), &Pulse::default()).await
}

pub(crate) async fn rows(snapshot: &mut Snapshot, entity: usize) -> Vec<PgRow> {
    let pulse = Pulse::default();
    let mut rows = snapshot.rows(entity, None, &pulse).unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().await.unwrap() {
        all.push(row);
    }
    assert_eq!(rows.count(), all.len() as u64);
    all
}
