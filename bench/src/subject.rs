//! The accounts that are exported, and the statements by which the peers read the same rows as the engine.

use std::path::Path;

use anyhow::Context as _;
use export_activities::catalogue::Catalogue;
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

const PROJECT_KEYS: &str = include_str!("../../activities/queries/project_keys.sql");

/// The session of every contender, as the engine sets it.
pub(crate) const SESSION: &str = "-c enable_sort=off -c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres \
    -c bytea_output=hex -c extra_float_digits=1 -c jit=off -c search_path= -c default_transaction_read_only=on";

/// Accounts with fewer rows count as small. They share nothing with the heavier accounts.
const SMALL_ROWS: i64 = 1000;

/// Maximum difference from a hundred rows of an account that counts as one of a hundred.
const NEAR_A_HUNDRED: i64 = 50;

/// The accounts of the bench.
pub(crate) struct Accounts {
    /// Only its own row.
    pub(crate) empty: Uuid,
    /// About a hundred rows.
    pub(crate) hundred: Uuid,
    /// Ten thousand pipeline runs.
    pub(crate) ten_thousand: Uuid,
    /// The heavy one.
    pub(crate) heavy: Uuid,
    /// Two hundred cells of 1 MB.
    pub(crate) cells: Uuid,
    /// One cell of 64 MB.
    pub(crate) large_cell: Uuid,
    /// Small accounts, and their mean number of rows.
    pub(crate) small: Vec<Uuid>,
    pub(crate) small_rows: f64,
    /// The small accounts with about a hundred rows.
    pub(crate) hundreds: Vec<Uuid>,
}

/// Adds the accounts that only the bench needs to the seeded ones.
pub(crate) async fn accounts(owner: &mut PgConnection, small: u32) -> anyhow::Result<Accounts> {
    // The first two accounts of the reference platform, whose seed is 1.
    let (heavy, empty): (Uuid, Uuid) = sqlx::query_as("select md5('1user1')::uuid, md5('1user2')::uuid")
        .fetch_one(&mut *owner)
        .await
        .context("failed to name the accounts")?;
    // Compressing hundreds of megabytes would take longer than the bench.
    sqlx::raw_sql("alter table public.pipeline_runs alter column log_excerpt set storage external")
        .execute(&mut *owner)
        .await
        .context("failed to change a column's storage")?;
    // Separate accounts: no other account is a member of their projects.
    let [ten_thousand, cells, large_cell] =
        [10_000, 1, 64].map(|number| Uuid::from_u128(0xbe_0000_0000_0000_0000_0000_0000_0000 + number));
    for (user, runs, cell) in
        [(ten_thousand, 10_000i64, 0i32), (cells, 200, 1 << 20), (large_cell, 1, 64 << 20)]
    {
        make(owner, heavy, user, runs, cell).await.context("failed to make an account of the bench")?;
    }
    sqlx::raw_sql("analyze").execute(&mut *owner).await.context("failed to analyze")?;
    let sizes = "with mine as (
            select owner_id as user_id, id as project_id from public.projects
            union select user_id, project_id from public.project_members where left_at is null
        ), counted as (
            select project_id, (select count(*) from public.features f where f.project_id = p.project_id)
                + (select count(*) from public.pipeline_runs r where r.project_id = p.project_id)
                + (select count(*) from public.releases l where l.project_id = p.project_id) + 1 as rows
            from (select distinct project_id from mine) p
        )
        select u.id, coalesce((select sum(c.rows) from mine m join counted c using (project_id) where m.user_id = u.id), 0)::bigint + 1
        from public.users u";
    let mut sizes: Vec<(Uuid, i64)> =
        sqlx::query_as(sizes).fetch_all(owner).await.context("failed to size the accounts")?;
    sizes.retain(|(user, rows)| *rows < SMALL_ROWS && ![cells, large_cell, empty].contains(user));
    sizes.sort_unstable_by_key(|(user, rows)| ((rows - 100).abs(), *user));
    let hundred = sizes.first().context("no account has about a hundred rows")?.0;
    sizes.truncate(small as usize);
    let hundreds = sizes.iter().filter(|(_, rows)| (rows - 100).abs() <= NEAR_A_HUNDRED);
    let hundreds = hundreds.map(|(user, _)| *user).collect();
    let small = sizes.iter().map(|(user, _)| *user).collect();
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let small_rows = sizes.iter().map(|(_, rows)| rows).sum::<i64>() as f64 / sizes.len() as f64;
    Ok(Accounts { empty, hundred, ten_thousand, heavy, cells, large_cell, small, small_rows, hundreds })
}

/// Makes the account whose memory is measured, with `times` the runs of the heavy one.
pub(crate) async fn enormous(owner: &mut PgConnection, heavy: Uuid, times: u8) -> anyhow::Result<Uuid> {
    let user = Uuid::from_u128(0xbe_0000_0000_0000_0000_0000_0000_0000 + 10_000_000);
    account(owner, heavy, user).await.context("failed to make the enormous account")?;
    // Skip the checks of two foreign keys for each row; both are known to be valid.
    sqlx::raw_sql("set session_replication_role = replica")
        .execute(&mut *owner)
        .await
        .context("failed to set a session")?;
    for again in 0..times {
        // Ascending ids, because an index of ten million random ones is larger than the server's memory.
        let copy = "insert into public.pipeline_runs (id, number, project_id, branch, commit_sha, commit_message, status,
                trigger, started_by, committer_email, runner_address, steps, variables, log_excerpt, exit_code, duration,
                cpu_seconds, cost, artifact_digest, created_at, started_at, finished_at)
            select lpad(to_hex(1000000000::bigint * ($3 + 1) + row_number() over ()), 32, '0')::uuid,
                1000000000::bigint * $3 + row_number() over (), $2, branch, commit_sha, commit_message, status,
                trigger, started_by, committer_email, runner_address, steps, variables, log_excerpt, exit_code, duration,
                cpu_seconds, cost, artifact_digest, created_at, started_at, finished_at
            from public.pipeline_runs
            where number >= 1000 and project_id in (select id from public.projects where owner_id = $1)";
        sqlx::query(copy)
            .bind(heavy)
            .bind(user)
            .bind(i64::from(again))
            .execute(&mut *owner)
            .await
            .context("failed to copy the heavy account's runs")?;
    }
    sqlx::raw_sql("reset session_replication_role; analyze")
        .execute(owner)
        .await
        .context("failed to analyze")?;
    Ok(user)
}

/// Makes an account with one project and up to `runs` runs, copied from the heavy account. `cell` is the size of their
/// logs in bytes.
async fn make(owner: &mut PgConnection, like: Uuid, user: Uuid, runs: i64, cell: i32) -> sqlx::Result<()> {
    account(owner, like, user).await?;
    sqlx::query(
        "insert into public.pipeline_runs select (jsonb_populate_record(r, jsonb_build_object('id', md5(r.id::text || $2)::uuid,
            'project_id', $2, 'number', row_number() over ())
            || case when $4 > 0 then jsonb_build_object('log_excerpt',
                repeat(md5(r.id::text) || e' a line of a log, with \"quotes\" and ünïcode\\n', $4 / 78)) else '{}' end)).*
         from public.pipeline_runs r join public.projects p on p.id = r.project_id
         where p.owner_id = $1 and r.number >= 1000 limit $3",
    )
    .bind(like)
    .bind(user)
    .bind(runs)
    .bind(cell)
    .execute(owner)
    .await
    .map(drop)
}

/// Makes an account with one project, copied from another account; account and project have the same id.
async fn account(owner: &mut PgConnection, like: Uuid, user: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "insert into public.users select (jsonb_populate_record(u, jsonb_build_object('id', $2, 'email', $2 || '@example.com',
            'api_token', 'tok_' || $2))).* from public.users u where u.id = $1",
    )
    .bind(like)
    .bind(user)
    .execute(&mut *owner)
    .await?;
    sqlx::query(
        "insert into public.projects select (jsonb_populate_record(p, jsonb_build_object('id', $2, 'owner_id', $2,
            'slug', 'bench-' || $2))).* from public.projects p where p.owner_id = $1 limit 1",
    )
    .bind(like)
    .bind(user)
    .execute(owner)
    .await
    .map(drop)
}

/// The job of a peer.
#[derive(Serialize)]
pub(crate) struct Job {
    level: u32,
    entities: Vec<JobEntity>,
}

#[derive(Serialize)]
struct JobEntity {
    name: String,
    /// The engine's own statement, complete with its keys.
    #[serde(skip)]
    statement: String,
    sql: String,
    columns: Vec<String>,
    pages: Option<Pages>,
}

/// The columns for reading the rows in keyset pages.
#[derive(Serialize)]
struct Pages {
    relation: String,
    by: String,
    by_type: String,
    keys: Vec<String>,
    order: Vec<String>,
    select: String,
}

impl Job {
    /// Makes the engine's statements for an account, with the keys in them.
    pub(crate) async fn of(
        source: &mut PgConnection,
        catalogue: &Catalogue,
        user: Uuid,
    ) -> anyhow::Result<Self> {
        let plan = catalogue.resolve(source).await?;
        let keys: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(format!(
            "select k.key::text, k.association::text from (\n{PROJECT_KEYS}\n) k order by k.key"
        )))
        .bind(user)
        .fetch_all(source)
        .await
        .context("failed to read the keys of an account")?;
        let (projects, associations): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        let array = |texts: &[String]| format!("'{{{}}}'", texts.join(","));
        let entities = plan.entities.iter().zip(catalogue.entities()).map(|(plan, entity)| {
            let own = [user.to_string()];
            let keys = if plan.name == "users" { &own[..] } else { &projects[..] };
            let statement =
                plan.statement.as_str().replace("$1", &array(keys)).replace("$2", &array(&associations));
            let columns: Vec<String> = plan.columns.iter().map(|column| column.name.clone()).collect();
            let names = columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            let pages = (plan.name == "pipeline_runs").then(|| Pages {
                relation: plan.relation.clone(),
                by: entity.by.concat(),
                by_type: "uuid".to_owned(),
                keys: keys.to_vec(),
                order: entity.order.clone(),
                select: names.clone(),
            });
            JobEntity {
                name: plan.name.clone(),
                sql: format!("select * from ({statement}) e({names})"),
                statement,
                columns,
                pages,
            }
        });
        Ok(Self { level: 1, entities: entities.collect() })
    }

    /// Writes it down for a peer.
    pub(crate) fn write(&mut self, level: u32, path: &Path) -> anyhow::Result<()> {
        self.level = level;
        let text = serde_json::to_vec_pretty(self).context("failed to write down a job")?;
        std::fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
    }

    /// Returns the script for `psql` that copies every entity and discards the rows.
    pub(crate) fn copies(&self, format: &str) -> String {
        let mut script = "begin isolation level repeatable read read only;\n".to_owned();
        for entity in &self.entities {
            script += &format!("copy ({}) to stdout (format {format});\n", entity.statement);
        }
        script + "commit;\n"
    }

    /// Returns the names of the entities.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entities.iter().map(|entity| entity.name.as_str())
    }
}
