//! A worker compares the catalogue with the source once, and again whenever the source has changed.

use std::sync::Arc;

use export_activities::{catalogue::Catalogue, failure, fulfil::attempt::Unfinished};
use export_stack::{platform::SeedOptions, servers::postgres::Role};
use export_workflows::contract::Outcome;

use crate::support::{
    accounts::{open, reference},
    database::run,
    installation_of::{self as given, Given},
};

#[tokio::test]
async fn the_next_export_sees_each_change_of_the_schema_and_pays_for_no_other() {
    let other =
        ["update public.users set bio = 'new'", "analyze", "create table public.unrelated (id integer)"];
    let replanned = [
        "create index on public.pipeline_runs (project_id, created_at)",
        "alter table public.releases add note text",
        "alter table public.releases rename to old_releases;
         create table public.releases (like public.old_releases including all);
         grant select on public.releases to export_read",
    ];
    let refused = [
        ("alter table public.features rename column title to heading", "catalogue_drift"),
        ("alter table public.features drop column title cascade", "catalogue_drift"),
        ("alter table public.pipeline_runs alter exit_code type bigint", "catalogue_drift"),
        ("alter table public.features rename to functions", "catalogue_drift"),
        ("alter domain public.email_address rename to mail_address", "catalogue_drift"),
        ("alter type public.plan_tier set schema pg_catalog", "catalogue_drift"),
        ("alter table public.releases enable row level security", "row_security"),
    ];
    let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
    let source = database.source();
    let plan = async || {
        let snapshot = open(&source, &catalogue, seeded.heavy).await?;
        let plan = Arc::clone(&snapshot.plan);
        snapshot.close().await.map(|()| plan)
    };
    let mut known = plan().await.unwrap();
    for change in other {
        run(&database.owner, change).await;
        assert!(Arc::ptr_eq(&known, &plan().await.unwrap()), "{change}");
    }
    for change in replanned {
        run(&database.owner, change).await;
        let new = plan().await.unwrap();
        assert!(!Arc::ptr_eq(&known, &new), "{change}");
        known = new;
    }
    assert_eq!(known.unclassified, ["public.releases.note"]);
    for (change, code) in refused {
        let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
        let source = database.source();
        open(&source, &catalogue, seeded.heavy).await.unwrap().close().await.unwrap();
        run(&database.owner, change).await;
        for _ in 0..2 {
            let error = open(&source, &catalogue, seeded.heavy).await.err().expect(change);
            assert_eq!(failure::judge(&error).code, code, "{change}: {error:#}");
        }
    }
}

const CATALOGUE: &str = r#"
[keys.account]
query = "select $1::uuid as key"
[keys.kinds]
query = "select 'a' as key where $1 <> ''"
[entity.users]
relation = "public.users"
keys = "account"
by = "id"
order = ["id"]
about = "x"
columns = { id = { type = "uuid", use = "export", about = "x" } }
[entity.things]
relation = "public.things"
keys = "kinds"
by = "kind"
order = ["id"]
about = "x"
columns = { id = { type = "integer", use = "export", about = "x" }, kind = { type = "public.kind", use = "export", about = "x" } }
"#;

#[tokio::test]
async fn a_change_that_no_fingerprint_shows_costs_one_attempt() {
    let Given { mut steps, owner, database, spool: _spool, .. } = given::installation().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalogue.toml"), CATALOGUE).unwrap();
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(
        &owner,
        "create extension if not exists citext schema public;
         create domain public.kind as public.citext;
         create table public.things (id integer primary key, kind public.kind);
         insert into public.things values (1, 'a'), (2, 'b')",
    )
    .await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(catalogue.grants())).execute(&owner).await.unwrap();
    steps.catalogue = Arc::new(catalogue);
    let serve = async |number| {
        let request = given::request(&owner, given::user(&owner).await).await;
        given::serve(&steps, &given::attempt(request, number)).await
    };
    let served = serve(1).await;
    assert!(matches!(served, Ok(Outcome::Fulfilled { rows: 2, .. })), "{served:?}");
    // The domain keeps its name. The statement casts the keys to the type below it.
    run(
        &database.pool(Role::Superuser).await.unwrap(),
        "create schema extensions; grant usage on schema extensions to export_read;
         alter extension citext set schema extensions",
    )
    .await;
    let failed = serve(1).await;
    assert!(matches!(failed, Err(Unfinished::Retry(_))), "{failed:?}");
    let served = serve(1).await;
    assert!(matches!(served, Ok(Outcome::Fulfilled { rows: 2, .. })), "{served:?}");
}
