//! Schemas that are not the reference platform's: one of many tables, and one large table with an ordinary index.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use export_activities::catalogue::{Catalogue, FILE};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

/// The entities of a small and of a large catalogue, the account included.
pub(crate) const FEW: usize = 11;
pub(crate) const MANY: usize = 120;

/// Accounts of the schema with many tables, each with no row but its own.
const EMPTY_ACCOUNTS: u32 = 200;

/// How often a statement over the large table is repeated in one script: a single run takes some milliseconds.
const REPEATS: usize = 50;

/// Makes the tables; returns the accounts. The folders `few` and `many` in `folder` have their catalogues, and so has
/// `large`.
pub(crate) async fn make(owner: &mut PgConnection, rows: u32, folder: &Path) -> anyhow::Result<Vec<Uuid>> {
    let mut sql = "drop schema if exists bench cascade; create schema bench; \
        create table bench.account (id uuid primary key);"
        .to_owned();
    for table in 1..MANY {
        let _ = write!(
            sql,
            "create table bench.t{table} (id uuid primary key, user_id uuid not null, title text, body text, state text,
                 amount numeric(12, 2), payload jsonb, created_at timestamptz, updated_at timestamptz);
             create index on bench.t{table} (user_id, created_at, id);"
        );
    }
    // The rows of a key are far from each other, as on a platform on which everybody writes at the same time.
    let _ = write!(
        sql,
        "create table bench.large (id bigint not null, team_id bigint not null, created_at timestamptz not null,
            state text, amount numeric(12, 2), note text);
        insert into bench.large
        select i, i * 7919 % 5000, '2026-01-01Z'::timestamptz + i * interval '1 second', 'open', i % 1000 / 7.0,
            'a note of the row ' || i
        from generate_series(1, {rows}::bigint) i;
        create index on bench.large (team_id);
        grant usage on schema bench to export_read; grant select on all tables in schema bench to export_read;
        analyze"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *owner).await.context("failed to make the tables")?;
    let accounts =
        "insert into bench.account select gen_random_uuid() from generate_series(1, $1) returning id";
    let accounts = sqlx::query_scalar(accounts).bind(i32::try_from(EMPTY_ACCOUNTS)?).fetch_all(owner).await;
    for (name, entities) in [("few", FEW), ("many", MANY)] {
        write_catalogue(&folder.join(name), &tables(entities))?;
    }
    write_catalogue(&folder.join("large"), &format!("{}{LARGE}", tables(1)))?;
    accounts.context("failed to make the accounts")
}

/// Returns two scripts for `psql` that read ten keys of the large table: by our statement, and as a person would write
/// it, with an ordinary sort.
pub(crate) async fn scripts(source: &mut PgConnection, folder: &Path) -> anyhow::Result<[String; 2]> {
    let plan = Catalogue::load(&folder.join("large"))?.resolve(source).await?;
    let ours = plan.entities.last().context("the catalogue is empty")?.statement.as_str();
    let ours = ours.replace("$1", "'{1,2,3,4,5,6,7,8,9,10}'");
    let by_hand = "select id, team_id, created_at, state, amount, note from bench.large
        where team_id = any('{1,2,3,4,5,6,7,8,9,10}') order by team_id, created_at, id";
    let script = |setting: &str, statement: &str| {
        setting.to_owned() + &format!("copy ({statement}) to stdout (format binary);\n").repeat(REPEATS)
    };
    Ok([script("", &ours), script("set enable_sort = on;\n", by_hand)])
}

fn write_catalogue(folder: &Path, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    let path = folder.join(FILE);
    fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))
}

fn tables(entities: usize) -> String {
    let mut text = ACCOUNT.to_owned();
    for table in 1..entities {
        let _ = write!(
            text,
            "[entity.t{table}]\nrelation = \"bench.t{table}\"\nkeys = \"account\"\nby = \"user_id\"\n\
             order = [\"created_at\", \"id\"]\nabout = \"Table {table}.\"\n[entity.t{table}.columns]\n{COLUMNS}"
        );
    }
    text
}

const ACCOUNT: &str = r#"
[keys.account]
query = "select $1::uuid as key"
[keys.teams]
query = "select n::bigint as key from generate_series(1, 10) n where $1 <> ''"
[entity.account]
relation = "bench.account"
keys = "account"
by = "id"
order = ["id"]
about = "The account."
columns = { id = { type = "uuid", use = "export", about = "Its id." } }
"#;

const COLUMNS: &str = r#"id = { type = "uuid", use = "export", about = "Its id." }
user_id = { type = "uuid", use = "export", about = "Whose it is." }
title = { type = "text", use = "export", about = "Its title." }
body = { type = "text", use = "export", about = "Its text." }
state = { type = "text", use = "export", about = "Its state." }
amount = { type = "numeric(12,2)", use = "export", about = "Its amount." }
payload = { type = "jsonb", use = "export", about = "What else it has." }
created_at = { type = "timestamp with time zone", use = "export", about = "When it was made." }
updated_at = { type = "timestamp with time zone", use = "export", about = "When it was changed." }
"#;

const LARGE: &str = r#"
[entity.large]
relation = "bench.large"
keys = "teams"
by = "team_id"
order = ["created_at", "id"]
about = "A large table."
[entity.large.columns]
id = { type = "bigint", use = "export", about = "Its id." }
team_id = { type = "bigint", use = "export", about = "Whose it is." }
created_at = { type = "timestamp with time zone", use = "export", about = "When it was made." }
state = { type = "text", use = "export", about = "Its state." }
amount = { type = "numeric(12,2)", use = "export", about = "Its amount." }
note = { type = "text", use = "export", about = "Its note." }
"#;
