//! The source refuses or changes while an account is read: nothing is missing from an archive that is called whole.

use std::str::FromStr as _;

use export_activities::{
    failure::{self, Class},
    pulse::Pulse,
    source::snapshot,
    user_id::UserId,
};
use export_stack::platform::SeedOptions;
use uuid::Uuid;

use super::collect::custom;
use crate::support::{
    accounts::{open, reference, rows},
    database::{database, run},
    installation_of,
};

#[tokio::test]
async fn an_account_that_would_fill_the_disk_of_the_source_with_a_sort_is_stopped_by_its_limit() {
    let database = database().await;
    let reader = database.reader("").await;
    reader.set(&database, "temp_file_limit", "1MB").await;
    reader.set(&database, "work_mem", "64kB").await;
    run(
        &database.owner,
        "create table public.users (id integer primary key);
         create table public.lines (id integer primary key, user_id integer, line text);
         create index on public.lines (user_id);
         insert into public.users values (1);
         insert into public.lines select n, 1, repeat('x', 100) from generate_series(1, 30000) n",
    )
    .await;
    let catalogue = custom(
        &database,
        r#"
        [keys.account]
        query = "select $1::integer as key"
        [entity.users]
        relation = "public.users"
        keys = "account"
        by = "id"
        order = ["id"]
        columns.id = { type = "integer", use = "export" }
        [entity.lines]
        relation = "public.lines"
        keys = "account"
        by = "user_id"
        order = ["line", "id"]
        [entity.lines.columns]
        id = { type = "integer", use = "export" }
        user_id = { type = "integer", use = "export" }
        line = { type = "text", use = "export" }
        "#,
    )
    .await;
    let source = installation_of::source(&reader.url.clone().into(), 1);
    let account = snapshot::Account { request_id: Uuid::nil(), user_id: UserId::from_str("1").unwrap() };
    let pulse = Pulse::default();
    let mut snapshot = snapshot::open(&source, &catalogue, &account, &pulse).await.unwrap();
    let mut rows = snapshot.rows(1, None, &pulse).unwrap();
    let error = rows.next().await.unwrap_err();
    let verdict = failure::judge(&error);
    assert_eq!((verdict.class, verdict.code.as_str()), (Class::System, "database/53400"));
    assert!(verdict.sentence().contains("temp_file_limit"), "{}", verdict.sentence());
    drop(rows);
    drop(snapshot);
    drop(source);
    database.forget(reader).await;
}

#[tokio::test]
async fn a_table_that_is_rewritten_emptied_or_replaced_during_an_export_is_never_exported_as_empty() {
    let harmless = [
        "drop index public.runs_by_project",
        "create index on public.pipeline_runs (created_at)",
        "reindex table public.pipeline_runs",
        "vacuum public.pipeline_runs",
        "alter table public.pipeline_runs add later text default 'x'",
        "update public.pipeline_runs set commit_message = 'new'",
    ];
    let harmful = [
        "alter table public.pipeline_runs alter number type numeric using number + 0.5",
        "truncate public.pipeline_runs cascade",
        "alter table public.pipeline_runs rename to old_runs;
         create table public.pipeline_runs (like public.old_runs including all);
         insert into public.pipeline_runs select * from public.old_runs;
         grant select on public.pipeline_runs to export_read",
    ];
    for (change, is_harmful) in
        harmless.map(|change| (change, false)).into_iter().chain(harmful.map(|change| (change, true)))
    {
        let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
        run(&database.owner, "create index runs_by_project on public.pipeline_runs (project_id, created_at)")
            .await;
        let source = database.source();
        let mut snapshot = open(&source, &catalogue, seeded.heavy).await.unwrap();
        let before = rows(&mut snapshot, 0).await.len();
        assert_eq!(before, 1);
        run(&database.owner, change).await;
        let mut counts = Vec::new();
        for entity in 1..snapshot.plan.entities.len() {
            counts.push(rows(&mut snapshot, entity).await.len());
        }
        let closed = snapshot.close().await;
        if is_harmful {
            let error = closed.expect_err(change);
            let verdict = failure::judge(&error);
            assert_eq!((verdict.class, verdict.code.as_str()), (Class::System, "source_changed"), "{change}");
            assert!(error.to_string().contains("pipeline_runs"), "{error}");
            // The danger is real.
            assert_eq!(counts[2], 0, "{change}");
        } else {
            closed.expect(change);
            assert!(counts[2] > 0, "{change}");
        }
        // The session is as good as before.
        let again = open(&source, &catalogue, seeded.heavy).await;
        if !change.contains("alter number") {
            again.unwrap().close().await.unwrap();
        } else {
            assert_eq!(failure::judge(&again.err().unwrap()).code, "catalogue_drift");
        }
    }
}
