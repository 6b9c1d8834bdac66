//! The catalogue against a real database: what differs is found, and nothing undecided is exported.

use std::path::Path;

use export_activities::{
    catalogue::{Catalogue, FindingKind, Plan},
    failure::{self, Class, Failure},
    pulse::Pulse,
    serialise::ValueKind,
    source::snapshot::{self, Account},
};
use export_stack::platform::{self, SeedOptions};
use uuid::Uuid;

use crate::support::{
    database::{Database, database, run},
    installation_of,
};

/// A database with the reference schema, read under the generated grants.
pub(super) async fn reference() -> (Database, Catalogue) {
    let database = database().await;
    platform::create(&database.owner).await.unwrap();
    let catalogue = Catalogue::builtin().unwrap();
    run(&database.owner, catalogue.grants()).await;
    (database, catalogue)
}

async fn resolve(database: &Database, catalogue: &Catalogue) -> anyhow::Result<Plan> {
    catalogue.resolve(&mut *database.source().acquire().await?).await
}

async fn findings(database: &Database, catalogue: &Catalogue) -> Vec<(FindingKind, String)> {
    let source = database.source();
    let report = catalogue.report(&mut source.acquire().await.unwrap()).await.unwrap();
    report.findings.into_iter().map(|finding| (finding.kind, finding.to_string())).collect()
}

fn drift(error: &anyhow::Error) -> Vec<String> {
    match error.downcast_ref::<Failure>() {
        Some(Failure::CatalogueDrift(columns)) => columns.clone(),
        _ => panic!("expected drift, got {error:#}"),
    }
}

pub(super) fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("catalogue.toml"), text).unwrap();
}

#[tokio::test]
async fn the_builtin_catalogue_fits_the_reference_schema() {
    let (database, catalogue) = reference().await;
    assert_eq!(findings(&database, &catalogue).await, []);
    let plan = resolve(&database, &catalogue).await.unwrap();
    assert_eq!(plan.unclassified, Vec::<String>::new());
    let names: Vec<_> = plan.entities.iter().map(|entity| entity.name.as_str()).collect();
    assert_eq!(names, ["users", "projects", "features", "pipeline_runs", "releases"]);
    let kind = |entity: usize, column: &str| {
        plan.entities[entity].columns.iter().find(|c| c.name == column).map(|c| c.kind.clone()).unwrap()
    };
    assert_eq!(kind(0, "email"), ValueKind::Text, "a domain is read as its base type");
    assert_eq!(kind(0, "credit_balance"), ValueKind::Numeric);
    assert_eq!(kind(0, "status"), ValueKind::Text, "an enum is read as its label");
    assert_eq!(kind(1, "association"), ValueKind::Text);
    assert_eq!(kind(1, "allowed_networks"), ValueKind::Array(Box::new(ValueKind::Inet)));
    assert_eq!(kind(2, "previous_statuses"), ValueKind::Array(Box::new(ValueKind::Text)));
    assert_eq!(kind(4, "rollout_window"), ValueKind::Text, "what has no encoder is read as text");
    for entity in &plan.entities {
        assert!(
            !entity.columns.iter().any(|column| column.name == "password_hash" || column.name == "variables")
        );
        assert!(!entity.order.is_empty());
    }
}

#[tokio::test]
async fn a_vanished_or_retyped_column_is_drift_and_named() {
    let cases = [
        ("alter table users drop column bio", "column `public.users.bio` does not exist"),
        ("alter table users rename bio to biography", "column `public.users.bio` does not exist"),
        ("alter table features drop column project_id", "column `public.features.project_id` does not exist"),
        (
            "alter table project_members drop column left_at",
            "column `public.project_members.left_at` does not exist",
        ),
        (
            "alter table releases alter column is_latest type text",
            "column `public.releases.is_latest` is of type `text`, the catalogue says `boolean`",
        ),
        (
            "alter table users alter column job_title type varchar(40)",
            "column `public.users.job_title` is of type `character varying(40)`, the catalogue says `character varying(120)`",
        ),
        (
            "drop index pipeline_runs_open; alter table pipeline_runs alter column status drop default, alter column status type text",
            "column `public.pipeline_runs.status` is of type `text`, the catalogue says `public.run_status`",
        ),
        (
            "alter table users alter column password_hash type bytea using ''",
            "column `public.users.password_hash` is of type `bytea`, the catalogue says `text`",
        ),
        ("drop table releases", "`public.releases` does not exist"),
        ("create schema old; alter table releases set schema old", "`public.releases` does not exist"),
        ("drop table project_members", "`public.project_members` does not exist"),
    ];
    let (database, catalogue) = reference().await;
    // One database, a change at a time, each undone: DDL is transactional.
    let mut connection = database.owner.acquire().await.unwrap();
    sqlx::raw_sql("set search_path = ''").execute(&mut *connection).await.unwrap();
    for (change, expected) in cases {
        let change = format!("begin; set local search_path = public; {change}; set local search_path = ''");
        sqlx::raw_sql(sqlx::AssertSqlSafe(change.clone())).execute(&mut *connection).await.unwrap();
        let error = catalogue.resolve(&mut connection).await.expect_err(&change);
        assert_eq!(drift(&error), [expected], "{change}");
        let report = catalogue.report(&mut connection).await.unwrap();
        assert!(report.stops_exports() && !report.is_clean(), "{change}");
        assert!(report.findings.iter().any(|finding| finding.to_string() == expected), "{change}");
        let verdict = failure::judge(&error);
        assert_eq!((verdict.class, verdict.code.as_str()), (Class::System, "catalogue_drift"));
        sqlx::raw_sql("rollback").execute(&mut *connection).await.unwrap();
    }
    catalogue.resolve(&mut connection).await.unwrap();
}

#[tokio::test]
async fn every_drift_is_told_at_once() {
    let (database, catalogue) = reference().await;
    run(&database.owner, "alter table users drop column bio; alter table projects drop column tags").await;
    assert_eq!(drift(&resolve(&database, &catalogue).await.unwrap_err()).len(), 2);
}

#[tokio::test]
async fn row_security_on_what_is_read_is_refused() {
    for relation in ["pipeline_runs", "project_members"] {
        let (database, catalogue) = reference().await;
        run(&database.owner, format!("alter table {relation} enable row level security")).await;
        let error = resolve(&database, &catalogue).await.unwrap_err();
        assert_eq!(failure::judge(&error).code, "row_security");
        assert!(error.to_string().contains(&format!("`public.{relation}`")), "{error}");
        let found = findings(&database, &catalogue).await;
        assert!(found.iter().any(|(kind, _)| *kind == FindingKind::RowSecurity));
    }
}

#[tokio::test]
async fn row_security_that_the_role_bypasses_hides_nothing_and_is_fine() {
    let (database, catalogue) = reference().await;
    let reader = database.reader("bypassrls").await;
    run(&database.owner, "alter table public.projects enable row level security").await;
    let source = installation_of::source(&reader.url.clone().into(), 1);
    let report = catalogue.report(&mut source.acquire().await.unwrap()).await.unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
    assert!(!findings(&database, &catalogue).await.is_empty(), "the control");
    database.forget(reader).await;
}

/// The built-in catalogue with another query of `[keys.projects]`.
fn with_keys(query: &str) -> Catalogue {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../../../activities/catalogue.toml");
    let text = text.replace("query = \"queries/project_keys.sql\"", &format!("query = \"{query}\""));
    write(folder.path(), &text);
    Catalogue::load(folder.path()).unwrap()
}

#[tokio::test]
async fn a_keys_query_that_cannot_be_run_is_named_before_a_night_is() {
    let (database, _) = reference().await;
    platform::seed(&database.owner, &SeedOptions::default()).await.unwrap();
    for (query, said) in [
        (
            "select id as key, 'owner' as association from public.ventures",
            "relation \"public.ventures\" does not exist",
        ),
        ("selekt 1", "syntax error"),
        ("select id, 'owner' as association from public.projects", "column q.key does not exist"),
        ("select id as key from public.projects", "column q.association does not exist"),
        ("select $1::bigint as key, 'owner' as association", "a value cannot be cast, SQLSTATE 22P02"),
    ] {
        let found = findings(&database, &with_keys(query)).await;
        let [(FindingKind::KeysQuery, sentence)] = found.as_slice() else { panic!("{query}: {found:?}") };
        assert!(sentence.contains("keys.projects") && sentence.contains(said), "{sentence}");
    }
    // What it reads beyond `reads`.
    let found =
        findings(&database, &with_keys("select id as key, name as association from public.projects")).await;
    assert_eq!(found, []);
    let found = findings(
        &database,
        &with_keys("select id as key, webhook_secret as association from public.projects"),
    )
    .await;
    assert_eq!(found[0].0, FindingKind::NoRight, "{found:?}");
    // Keys of another type than the column that they are compared with: the statement of each entity says so.
    let found = findings(&database, &with_keys("select 7 as key, 'owner' as association")).await;
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].1.contains("do not fit `id` of `public.projects`"), "{found:?}");
}

#[tokio::test]
async fn a_table_that_nobody_decided_is_named_and_red_if_it_leads_to_the_account() {
    let (database, catalogue) = reference().await;
    run(
        &database.owner,
        "create table public.invoices (id int primary key, user_id uuid references public.users);
         create table public.invoice_lines (invoice_id int references public.invoices);
         create table public.countries (code text)",
    )
    .await;
    let found = findings(&database, &catalogue).await;
    let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
    let (leads, leads_not) = (FindingKind::UnlistedRelation, FindingKind::UnrelatedRelation);
    assert_eq!(kinds, [leads_not, leads, leads], "{found:?}");
    assert!(found[1].1.contains("`public.invoice_lines`") && found[1].1.contains("[left_out]"), "{found:?}");
}

#[tokio::test]
async fn without_an_index_in_the_order_rows_are_found_by_their_key_and_then_sorted() {
    let (database, catalogue) = reference().await;
    let statement = async || {
        let plan = resolve(&database, &catalogue).await.unwrap();
        plan.entities[3].statement.as_str().to_owned()
    };
    let before = statement().await;
    assert!(!before.contains("offset 0"), "{before}");
    // An ordinary index, beside the primary key that sorted the rows of the whole table.
    run(
        &database.owner,
        "drop index pipeline_runs_project_created; create index on public.pipeline_runs (project_id)",
    )
    .await;
    let fenced = statement().await;
    assert!(fenced.contains("offset 0) t order by"), "{fenced}");
    assert_eq!(findings(&database, &catalogue).await, []);
    // One whose order does not serve is like none: it sorts by other rules.
    run(&database.owner, "create index on public.pipeline_runs (project_id, created_at nulls first)").await;
    assert_eq!(statement().await, fenced);
    run(&database.owner, "create index on public.pipeline_runs (project_id, created_at desc)").await;
    assert_eq!(statement().await, before);
}

#[tokio::test]
async fn a_new_column_is_counted_and_not_exported() {
    let (database, catalogue) = reference().await;
    run(&database.owner, "alter table users add column nickname text default 'leak'").await;
    // What a keys query reads is no entity: a new column there is no decision to make.
    run(&database.owner, "alter table project_members add column note text").await;
    let plan = resolve(&database, &catalogue).await.unwrap();
    assert_eq!(plan.unclassified, ["public.users.nickname"]);
    assert!(plan.entities[0].columns.iter().all(|column| column.name != "nickname"));
    assert!(!plan.entities[0].statement.as_str().contains("nickname"));
    let found = findings(&database, &catalogue).await;
    let text = "column `public.users.nickname` of type `text` is not in the catalogue and not exported";
    assert_eq!(found, [(FindingKind::UnclassifiedColumn, text.to_owned())]);
}

#[tokio::test]
async fn an_entity_without_an_index_on_its_key_is_a_warning() {
    let (database, catalogue) = reference().await;
    run(
        &database.owner,
        "drop index pipeline_runs_project_created; create index on pipeline_runs (project_id) where exit_code = 0",
    )
    .await;
    let source = database.source();
    let warned = async || {
        let report = catalogue.report(&mut source.acquire().await.unwrap()).await.unwrap();
        assert!(report.is_clean() && !report.stops_exports());
        report.findings.iter().map(|finding| (finding.kind, finding.relation.clone())).collect::<Vec<_>>()
    };
    let no_index = [(FindingKind::NoIndex, "public.pipeline_runs".to_owned())];
    assert_eq!(warned().await, no_index);
    // An index that begins with another column is read as a whole, for each project.
    run(&database.owner, "create index on pipeline_runs (status, project_id)").await;
    assert_eq!(warned().await, no_index);
    run(&database.owner, "create index on pipeline_runs (project_id, status)").await;
    assert_eq!(warned().await, []);
}

#[tokio::test]
async fn a_column_with_the_name_of_a_computed_one_is_found() {
    let (database, catalogue) = reference().await;
    run(&database.owner, "alter table projects add column association text").await;
    let found = findings(&database, &catalogue).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, FindingKind::HiddenColumn);
    assert!(
        found[0].1.contains("`public.projects.association`") && found[0].1.contains("rename"),
        "{found:?}"
    );
}

#[tokio::test]
async fn no_statement_sorts_an_account() {
    let (database, catalogue) = reference().await;
    let options = SeedOptions { heavy_runs: 20_000, ..SeedOptions::default() };
    let seeded = platform::seed(&database.owner, &options).await.unwrap();
    let source = database.source();
    let mut connection = source.acquire().await.unwrap();
    let plan = catalogue.resolve(&mut connection).await.unwrap();
    let keys: Vec<String> =
        sqlx::query_scalar("select id::text from public.projects where owner_id = $1 order by id")
            .bind(seeded.heavy)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    let none: Vec<Option<String>> = keys.iter().map(|_| Some("owner".to_owned())).collect();
    for entity in &plan.entities {
        for generic in [false, true] {
            let explained = explain(&mut connection, entity.statement.as_str(), &keys, &none, generic).await;
            assert!(!sorts_whole(&explained), "{}: {explained:#?}", entity.name);
            if entity.name == "pipeline_runs" {
                let text = explained.join("\n");
                assert!(text.contains("Incremental Sort"), "{text}");
                assert!(text.contains("Index Scan using pipeline_runs_project_created"), "{text}");
            }
        }
    }
    // Without its index the account has to be sorted: the test would see it.
    run(&database.owner, "drop index pipeline_runs_project_created").await;
    let runs = plan.entities[3].statement.as_str();
    assert!(sorts_whole(&explain(&mut connection, runs, &keys, &none, false).await));
}

fn sorts_whole(explained: &[String]) -> bool {
    explained.iter().any(|line| line.trim_start().trim_start_matches("->  ").starts_with("Sort  "))
}

#[tokio::test]
async fn a_keys_query_that_does_not_fit_is_nobodys_fault() {
    let (database, _) = reference().await;
    let seeded = platform::seed(&database.owner, &SeedOptions::default()).await.unwrap();
    let builtin = include_str!("../../../activities/catalogue.toml");
    for (query, expected) in [
        (
            "select id as key, 'x' as association from public.projects union all select id, 'y' from public.projects",
            "gives a key twice",
        ),
        ("select 'no uuid'::uuid as key, 'x' as association", "SQLSTATE 22P02"),
        ("select nothing as key, 'x' as association from public.projects", "SQLSTATE 42703"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &builtin.replace("queries/project_keys.sql", query));
        let catalogue = Catalogue::load(folder.path()).unwrap();
        let account = Account { request_id: Uuid::new_v4(), user_id: seeded.heavy.into() };
        let opened = snapshot::open(&database.source(), &catalogue, &account, &Pulse::default()).await;
        let Err(error) = opened else { panic!("{query}") };
        assert!(
            error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Failure::CatalogueDrift(_)))),
            "{error:#}"
        );
        assert!(format!("{error:#}").contains(expected), "{error:#}");
        assert_eq!(failure::judge(&error).class, Class::System);
    }
}

/// Explains a statement as it is run: prepared, once with its values known and once without.
async fn explain(
    connection: &mut sqlx::PgConnection,
    statement: &str,
    keys: &[String],
    computed: &[Option<String>],
    generic: bool,
) -> Vec<String> {
    let list = keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
    let owners = computed.iter().flatten().map(|owner| format!("'{owner}'")).collect::<Vec<_>>().join(", ");
    let second = if statement.contains("$2") { format!(", array[{owners}]::text[]") } else { String::new() };
    let mode = if generic { "force_generic_plan" } else { "force_custom_plan" };
    let prepare = format!(
        "begin; set local enable_sort = off; set local plan_cache_mode = {mode}; prepare p as {statement}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let explain = format!("explain execute p (array[{list}]::text[]{second})");
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
    sqlx::raw_sql("rollback; deallocate p").execute(&mut *connection).await.unwrap();
    rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
}
