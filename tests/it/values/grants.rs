//! What the roles may do: exactly what the catalogue reads, and what the migrations need.

use export_activities::catalogue::{self, Catalogue};

use super::catalogue::reference;
use crate::support::database::{Database, database, run};

#[tokio::test]
async fn the_reading_role_is_refused_whatever_the_catalogue_does_not_read() {
    let (database, _) = reference().await;
    let source = database.source();
    let refused = async |sql: &'static str| {
        let error = sqlx::raw_sql(sql).execute(&source).await.expect_err(sql);
        error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
    };
    sqlx::raw_sql("select id, email from public.users").execute(&source).await.unwrap();
    for omitted in [
        "select password_hash from public.users",
        "select * from public.users",
        "select u from public.users u",
        "select totp_secret from public.users",
        "select webhook_secret from public.projects",
        "select variables from public.pipeline_runs",
        "select reporter_email from public.features",
        "select role from public.project_members",
    ] {
        assert_eq!(refused(omitted).await, "42501", "{omitted}");
    }
    for write in [
        "update public.users set email = 'x@example.com'",
        "delete from public.users",
        "create temp table t ()",
        "create table public.t ()",
    ] {
        assert_eq!(refused(write).await, "25006", "{write}");
    }
    // It is the rights that hold it back, not only the session.
    let forced = "begin read write; update public.users set email = 'x@example.com'";
    assert_eq!(refused(forced).await, "42501");
}

#[tokio::test]
async fn granting_anew_takes_back_what_became_omitted() {
    let (database, _) = reference().await;
    run(
        &database.owner,
        "grant select on users to export_read; grant select (api_token) on users to export_read",
    )
    .await;
    run(&database.owner, Catalogue::builtin().unwrap().grants()).await;
    let refused = sqlx::raw_sql("select api_token from public.users").execute(&database.source()).await;
    assert_eq!(refused.unwrap_err().as_database_error().unwrap().code().unwrap(), "42501");
}

/// Relations and schemas on which a role itself holds a right, not through `public`.
async fn held(database: &Database, role: &str) -> Vec<String> {
    let sql = "select c.relname::text || '.' || a.privilege_type from pg_class c, aclexplode(c.relacl) a
                   where a.grantee = $1::regrole
               union select c.relname || '.' || t.attname from pg_class c join pg_attribute t on t.attrelid = c.oid,
                   aclexplode(t.attacl) a where a.grantee = $1::regrole
               union select n.nspname || '.' || a.privilege_type from pg_namespace n, aclexplode(n.nspacl) a
                   where a.grantee = $1::regrole
               order by 1";
    sqlx::query_scalar(sql).bind(role).fetch_all(&database.owner).await.unwrap()
}

#[tokio::test]
async fn granting_anew_takes_back_what_left_the_catalogue() {
    let (database, catalogue) = reference().await;
    let needed = held(&database, "export_read").await;
    assert!(needed.contains(&"users.email".to_owned()), "{needed:?}");
    run(
        &database.owner,
        "create schema \"Old one\"; create table \"Old one\".\"a.b\" (id int, secret text);
         create sequence numbers; create view seen as select 1 as one;
         grant usage, create on schema \"Old one\" to export_read;
         grant select (secret), insert (id) on \"Old one\".\"a.b\" to export_read;
         grant usage on sequence numbers to export_read;
         grant select on seen to export_read with grant option;
         grant select on seen to export_state",
    )
    .await;
    let state = held(&database, "export_state").await;
    assert_ne!(held(&database, "export_read").await, needed);
    run(&database.owner, catalogue.grants()).await;
    assert_eq!(held(&database, "export_read").await, needed);
    assert_eq!(held(&database, "export_state").await, state, "other roles keep their rights");
}

#[tokio::test]
async fn rights_on_the_relations_of_other_owners_do_not_stop_the_grants() {
    let (database, catalogue) = reference().await;
    let needed = held(&database, "export_read").await;
    run(&database.owner, "create table others (id int); grant select on others to export_read").await;
    // Everything but `others` is the owner's, as on a platform with several.
    run(
        &database.owner,
        "alter schema public owner to export_owner;
         do $$ declare r record; begin
             for r in select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace
                 and c.relkind in ('r', 'p') and c.relname <> 'others'
             loop execute format('alter table %I owner to export_owner', r.relname); end loop;
         end $$",
    )
    .await;
    run(&database.owner, format!("set role export_owner; {}; reset role", catalogue.grants())).await;
    let found = held(&database, "export_read").await;
    let more: Vec<_> = found.iter().filter(|right| !needed.contains(right)).collect();
    assert_eq!(more, ["others.SELECT"]);
    assert!(needed.iter().all(|right| found.contains(right)), "{found:?}");
}

#[tokio::test]
async fn the_state_roles_grants_fit_the_migrations() {
    let database = database().await;
    let mut migrations: Vec<_> =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/exports"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
    migrations.sort();
    for migration in migrations {
        run(&database.owner, &std::fs::read_to_string(migration).unwrap()).await;
    }
    run(&database.owner, "create table public.data_export_migrations (version bigint primary key)").await;
    run(&database.owner, catalogue::state_grants()).await;
    run(
        &database.owner,
        "set role export_state;
        insert into public.data_export_requests (user_id) values (gen_random_uuid());
        update public.data_export_requests set attempts = 1;
        select * from public.data_export_requests_effective, public.data_export_installation, public.data_export_migrations;
        update public.data_export_requests set status = 'failed', failure_reason = 'revoked', pseudonym_salt = null;
        insert into public.data_export_brakes (brake, hit, total) values ('sweep', 1, 2);
        delete from public.data_export_brakes;
        insert into public.data_export_checks (request_id, finding) select id, 'missing' from public.data_export_requests;
        delete from public.data_export_checks;
        select public.data_export_record_location('s3://exports');
        delete from public.data_export_events where at < now() - interval '25 months';
        reset role",
    )
    .await;
    for refused in [
        "set role export_state; delete from public.data_export_requests",
        "set role export_state; update public.data_export_installation set location = 's3://other'",
        "set role export_state; insert into public.data_export_requests (user_id, status) values (gen_random_uuid(), 'failed')",
        "set role export_state; insert into public.data_export_events (request_id, kind)
             select id, 'object_deleted' from public.data_export_requests",
    ] {
        let error = sqlx::raw_sql(refused).execute(&database.owner).await.expect_err(refused);
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{refused}");
    }
}
