//! The reference data: the same for the same seed, and marked cell by cell.

use export_stack::platform::{self, SeedOptions};
use sqlx::PgPool;

use crate::support::database::{Database, database};

const TABLES: [&str; 6] = ["users", "projects", "project_members", "features", "pipeline_runs", "releases"];

async fn seeded(options: SeedOptions) -> Database {
    let database = database().await;
    platform::create(&database.owner).await.unwrap();
    platform::seed(&database.owner, &options).await.unwrap();
    database
}

async fn digests(owner: &PgPool) -> Vec<Option<String>> {
    let mut digests = Vec::new();
    for table in TABLES {
        let sql =
            format!("select md5(string_agg(t::text, ',' order by t::text collate \"C\")) from {table} t");
        digests.push(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(owner).await.unwrap());
    }
    digests
}

#[tokio::test]
async fn the_same_seed_gives_the_same_rows_and_another_gives_others() {
    let options = SeedOptions { heavy_runs: 100, ..SeedOptions::default() };
    let first = digests(&seeded(options).await.owner).await;
    assert!(first.iter().all(Option::is_some), "a table is empty");
    assert_eq!(first, digests(&seeded(options).await.owner).await);
    let other = digests(&seeded(SeedOptions { seed: 2, ..options }).await.owner).await;
    assert!(first.iter().zip(&other).all(|(first, other)| first != other));
}

#[tokio::test]
async fn every_text_cell_holds_a_marker_of_its_own() {
    let database = seeded(SeedOptions::default()).await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        join pg_type t on t.oid = a.atttypid
        where c.relname = any($1) and c.relkind = 'r' and t.typcategory = 'S' and a.attname <> 'currency'",
    )
    .bind(TABLES.as_slice())
    .fetch_all(&database.owner)
    .await
    .unwrap();
    assert!(columns.len() > 20);
    for (table, column) in columns {
        let sql = format!(
            "select count(*) filter (where {column} <> ''), count(distinct substring({column} from 'mk-{table}-{column}-[0-9]+-km'))
            from {table}"
        );
        let (filled, marked): (i64, i64) =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(&database.owner).await.unwrap();
        assert!(filled > 0 && filled == marked, "{table}.{column}: {filled} filled, {marked} marked");
    }
}

#[tokio::test]
async fn the_data_hold_the_cases_that_exports_get_wrong() {
    let database = seeded(SeedOptions::default()).await;
    for there in [
        "select from projects where deleted_at is not null",
        "select from users where deleted_at is not null",
        "select from users where last_login_at = 'infinity'",
        "select from users where display_name ~ '^[=+@-]' or bio ~ '^[=+@-]'",
        "select from pipeline_runs where commit_message like '%\"%' or commit_message like E'%\\n%'",
        "select from features where description like '%@customer.example%'",
        "select from project_members where left_at is not null",
        "select from project_members m join projects p on p.id = m.project_id where m.user_id = p.owner_id",
        "select from projects p where not exists (select from pipeline_runs r where r.project_id = p.id)",
    ] {
        let sql = format!("select exists ({there})");
        let found: bool =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&database.owner).await.unwrap();
        assert!(found, "{there}");
    }
}
