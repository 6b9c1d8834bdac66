//! One account is read: all of it, nobody else's, at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use export_activities::{
    catalogue::Catalogue,
    failure::{self, Class},
    pulse::Pulse,
    serialise::{Row as _, ValueKind},
    source::snapshot,
    user_id::UserId,
};
use export_stack::platform::SeedOptions;
use sqlx::{PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use crate::support::{
    accounts::{account, open, reference, rows},
    database::{Database, database},
    sample::decided,
};

/// All markers in the bytes of a row.
fn markers(row: &PgRow) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for column in 0..row.len() {
        let Some(bytes) = row.value(column).unwrap() else { continue };
        let text = String::from_utf8_lossy(bytes);
        for part in text.split("mk-").skip(1) {
            if let Some((marker, _)) = part.split_once("-km") {
                found.insert(marker.to_owned());
            }
        }
    }
    found
}

/// The markers in the exported columns of an account's rows, by a query that has nothing of ours.
async fn expected(owner: &PgPool, catalogue: &Catalogue, user: Uuid) -> BTreeMap<String, BTreeSet<String>> {
    let mut expected = BTreeMap::new();
    for entity in catalogue.entities() {
        let whose = match entity.name.as_str() {
            "users" => "t.id = $1",
            "projects" => "t.id in (select * from mine)",
            _ => "t.project_id in (select * from mine)",
        };
        let exported = entity.columns.iter().filter(|column| !column.computed);
        let exported = exported.filter(|column| column.use_ == export_activities::catalogue::Use::Export);
        let texts: Vec<String> = exported
            .map(|column| match column.pg_type.as_str() {
                "bytea" => format!("encode(t.{}, 'escape')", column.name),
                _ => format!("t.{}::text", column.name),
            })
            .collect();
        let sql = format!(
            "with mine as (
                select id from public.projects where owner_id = $1
                union select project_id from public.project_members where user_id = $1 and left_at is null
            )
            select distinct m[1] from {} t, regexp_matches(concat_ws(' ', {}), 'mk-(.*?)-km', 'g') m where {whose}",
            entity.relation,
            texts.join(", ")
        );
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(user).fetch_all(owner).await.unwrap();
        expected.insert(entity.name.clone(), rows.into_iter().collect());
    }
    expected
}

#[tokio::test]
async fn every_account_is_read_whole_and_nothing_of_anybody_else() {
    let (database, catalogue, seeded) =
        reference(SeedOptions { heavy_runs: 2_000, ..SeedOptions::default() }).await;
    let source = database.source();
    let mut cells = 0;
    for user in &seeded.users {
        let expected = expected(&database.owner, &catalogue, *user).await;
        let mut snapshot = open(&source, &catalogue, *user).await.unwrap();
        for index in 0..snapshot.plan.entities.len() {
            let rows = rows(&mut snapshot, index).await;
            let found: BTreeSet<String> = rows.iter().flat_map(markers).collect();
            let name = &snapshot.plan.entities[index].name;
            assert_eq!(found, expected[name], "{name} of {user}");
            assert!(
                found.iter().all(|marker| !marker.contains("password_hash") && !marker.contains("secret"))
            );
            cells += found.len();
        }
        snapshot.close().await.unwrap();
    }
    assert!(cells > 10_000, "{cells} markers are too few to prove anything");
}

#[tokio::test]
async fn the_comparison_of_markers_sees_a_foreign_row() {
    let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
    let mut snapshot = open(&database.source(), &catalogue, seeded.heavy).await.unwrap();
    let found: BTreeSet<String> = rows(&mut snapshot, 1).await.iter().flat_map(markers).collect();
    let other = expected(&database.owner, &catalogue, seeded.former).await;
    assert_ne!(found, other["projects"]);
}

#[tokio::test]
async fn who_left_a_project_gets_nothing_of_it_and_who_came_back_does() {
    let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
    let source = database.source();
    let left: Uuid = sqlx::query_scalar(
        "select project_id from project_members where user_id = $1 and joined_at = '2025-01-04' and left_at is not null",
    )
    .bind(seeded.former)
    .fetch_one(&database.owner)
    .await
    .unwrap();
    for (user, association) in
        [(seeded.former, None), (seeded.returned, Some("member")), (seeded.heavy, Some("owner"))]
    {
        let mut snapshot = open(&source, &catalogue, user).await.unwrap();
        let rows = rows(&mut snapshot, 1).await;
        let found: Vec<&str> =
            rows.iter().filter(|row| row.get::<Uuid, _>("c0") == left).map(|row| row.get("c1")).collect();
        assert_eq!(found, association.into_iter().collect::<Vec<_>>());
        snapshot.close().await.unwrap();
    }
}

#[tokio::test]
async fn soft_deleted_projects_are_read_and_rows_come_in_order() {
    let (database, catalogue, seeded) =
        reference(SeedOptions { heavy_runs: 3_000, ..SeedOptions::default() }).await;
    let mut snapshot = open(&database.source(), &catalogue, seeded.heavy).await.unwrap();
    let projects = rows(&mut snapshot, 1).await;
    let deleted =
        snapshot.plan.entities[1].columns.iter().position(|column| column.name == "deleted_at").unwrap();
    assert!(projects.iter().any(|row| row.value(deleted).unwrap().is_some()));
    let runs: Vec<Uuid> = rows(&mut snapshot, 3).await.iter().map(|row| row.get(0)).collect();
    let ordered: Vec<Uuid> = sqlx::query_scalar(
        "select id from pipeline_runs where project_id = any($1) order by project_id, created_at, id",
    )
    .bind(projects.iter().map(|row| row.get(0)).collect::<Vec<Uuid>>())
    .fetch_all(&database.owner)
    .await
    .unwrap();
    assert!(runs.len() > 3_000);
    assert!(runs == ordered, "the runs are not in the order of project, time and id");
}

#[tokio::test]
async fn an_account_with_nothing_has_empty_entities() {
    let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
    let mut snapshot = open(&database.source(), &catalogue, seeded.lonely).await.unwrap();
    assert_eq!(rows(&mut snapshot, 0).await.len(), 1);
    for entity in 1..5 {
        assert_eq!(rows(&mut snapshot, entity).await.len(), 0);
    }
    snapshot.close().await.unwrap();
}

#[tokio::test]
async fn an_account_without_a_row_is_deleted() {
    let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
    let source = database.source();
    let unknown = Uuid::new_v4();
    let Err(error) = open(&source, &catalogue, unknown).await else {
        panic!("an unknown account was opened")
    };
    assert_eq!(failure::judge(&error).code, "account_deleted");
    let asked = [unknown, seeded.lonely, seeded.heavy].map(UserId::from);
    let found = snapshot::existing_accounts(&source, &catalogue, &asked).await.unwrap();
    assert_eq!(found, [seeded.lonely, seeded.heavy].map(|user| user.to_string()).into());
}

#[tokio::test]
async fn all_entities_are_of_one_moment() {
    let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
    let mut snapshot = open(&database.source(), &catalogue, seeded.heavy).await.unwrap();
    let before = rows(&mut snapshot, 1).await.len();
    let change = "update projects set name = 'renamed'; delete from releases; update users set bio = 'other'; \
                  delete from projects where owner_id <> (select owner_id from projects order by created_at limit 1)";
    sqlx::raw_sql(change).execute(&database.owner).await.unwrap();
    let after = rows(&mut snapshot, 1).await;
    assert_eq!(after.len(), before);
    assert!(after.iter().all(|row| row.get::<&str, _>("c4") != "renamed"));
    assert!(!rows(&mut snapshot, 4).await.is_empty());
    let now: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("select now()").fetch_one(&database.owner).await.unwrap();
    assert!(snapshot.snapshot_at < now && now - snapshot.snapshot_at < chrono::Duration::minutes(5));
    assert!(snapshot.server_version.starts_with(|first: char| first.is_ascii_digit()));
}

#[tokio::test]
async fn a_finished_read_gives_its_connection_back_and_an_unfinished_one_is_cut() {
    let (database, catalogue, seeded) =
        reference(SeedOptions { heavy_runs: 20_000, ..SeedOptions::default() }).await;
    let source = database.source();
    let mut snapshot = open(&source, &catalogue, seeded.heavy).await.unwrap();
    rows(&mut snapshot, 3).await;
    snapshot.close().await.unwrap();
    let name: String = sqlx::query_scalar("show application_name").fetch_one(&source).await.unwrap();
    assert_eq!(name, "export-worker", "the request's name stays on the connection");

    let wanted = account(seeded.heavy);
    let mut snapshot = snapshot::open(&source, &catalogue, &wanted, &Pulse::default()).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pid from pg_stat_activity where application_name = $1")
        .bind(format!("export-worker {}", wanted.request_id))
        .fetch_one(&database.owner)
        .await
        .unwrap();
    let pulse = Pulse::default();
    let mut half = snapshot.rows(3, None, &pulse).unwrap();
    assert!(half.next().await.unwrap().is_some());
    drop(half);
    assert!(
        snapshot.rows(4, None, &pulse).is_err(),
        "rows left behind must not be taken for those of the next entity"
    );
    assert!(snapshot.close().await.is_err());
    until_gone(&database.owner, pid).await;
    open(&source, &catalogue, seeded.lonely).await.unwrap().close().await.unwrap();
}

/// Waits until the server has noticed that a connection is gone.
async fn until_gone(owner: &PgPool, pid: i32) {
    let gone = async {
        loop {
            let there: bool =
                sqlx::query_scalar("select exists (select from pg_stat_activity where pid = $1)")
                    .bind(pid)
                    .fetch_one(owner)
                    .await
                    .unwrap();
            if !there {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the connection is still open");
}

#[tokio::test]
async fn a_cancelled_read_stops_as_interrupted() {
    let (database, catalogue, seeded) =
        reference(SeedOptions { heavy_runs: 2_000, ..SeedOptions::default() }).await;
    let source = database.source();
    let pulse = Pulse::default();
    let mut snapshot = snapshot::open(&source, &catalogue, &account(seeded.heavy), &pulse).await.unwrap();
    let mut rows = snapshot.rows(3, None, &pulse).unwrap();
    rows.next().await.unwrap();
    assert!(pulse.moved() > 0);
    pulse.cancel();
    // Rows that have already come may still be given, but never all of them.
    let error = loop {
        match rows.next().await {
            Ok(Some(_)) => assert!(rows.count() < 2_000),
            Ok(None) => panic!("a cancelled read came to its end"),
            Err(error) => break error,
        }
    };
    assert_eq!(failure::judge(&error).class, Class::Interrupted);
    drop(rows);
    drop(snapshot);
    let Err(error) = snapshot::open(&source, &catalogue, &account(seeded.heavy), &pulse).await else {
        panic!("a cancelled attempt opened a snapshot")
    };
    assert_eq!(failure::judge(&error).class, Class::Interrupted);
}

#[tokio::test]
async fn a_query_that_runs_long_before_its_first_row_counts_as_moving_and_can_be_cancelled() {
    let database = database().await;
    sqlx::raw_sql(
        "create table accounts (id uuid primary key); insert into accounts values ('00000000-0000-0000-0000-000000000001');
        create view slow as select id, pg_sleep(3600)::text as waited from accounts; grant usage on schema public to export_read",
    )
    .execute(&database.owner)
    .await
    .unwrap();
    let catalogue = custom(
        &database,
        r#"
        [keys.account]
        query = "select $1::uuid as key"
        [entity.accounts]
        relation = "public.accounts"
        keys = "account"
        by = "id"
        order = ["id"]
        about = "x"
        columns = { id = { type = "uuid", use = "export", about = "x" } }
        [entity.slow]
        relation = "public.slow"
        keys = "account"
        by = "id"
        order = ["id"]
        about = "x"
        columns = { id = { type = "uuid", use = "export", about = "x" }, waited = { type = "text", use = "export", about = "x" } }
        "#,
    )
    .await;
    let pulse = Pulse::default();
    let wanted = account(Uuid::from_u128(1));
    let mut snapshot = snapshot::open(&database.source(), &catalogue, &wanted, &pulse).await.unwrap();
    let before = pulse.moved();
    let canceller = pulse.clone();
    let moved = tokio::spawn(async move {
        while canceller.moved() < before + 2 {
            tokio::task::yield_now().await;
        }
        canceller.cancel();
    });
    let mut rows = snapshot.rows(1, None, &pulse).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(30), rows.next()).await.unwrap().unwrap_err();
    assert_eq!(failure::judge(&error).class, Class::Interrupted);
    moved.await.unwrap();
}

/// A separate catalogue, granted to `export_read`.
pub(super) async fn custom(database: &Database, text: &str) -> Catalogue {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = load(folder.path(), text);
    sqlx::raw_sql(sqlx::AssertSqlSafe(catalogue.grants())).execute(&database.owner).await.unwrap();
    catalogue
}

fn load(folder: &Path, text: &str) -> Catalogue {
    std::fs::write(folder.join("catalogue.toml"), text).unwrap();
    Catalogue::load(folder).unwrap()
}

#[tokio::test]
async fn odd_names_and_types_are_read() {
    let database = database().await;
    sqlx::raw_sql(
        r#"create schema "My Schema";
        create type "My Schema"."Odd Enum" as enum ('a "b"', 'c,d');
        create domain "My Schema".inner_domain as character(4);
        create domain "My Schema".outer_domain as "My Schema".inner_domain;
        create domain "My Schema".list_domain as integer[];
        create domain "My Schema".enum_domain as "My Schema"."Odd Enum";
        create type "My Schema".pair as (x integer, y text);
        create table "My Schema"."select" (
            "Id" bigint generated always as identity unique,
            "user ""id""" uuid primary key,
            chars "My Schema".outer_domain, char_list "My Schema".outer_domain[], list "My Schema".list_domain,
            lists "My Schema".list_domain[], label "My Schema".enum_domain, labels "My Schema"."Odd Enum"[],
            small "char", tag name, tags name[], price money, duo "My Schema".pair, old int2vector, span int4range,
            bits bit varying(8), position point, words varchar(5)[], "c0" text, plain xml
        );
        insert into "My Schema"."select" ("user ""id""", chars, char_list, list, lists, label, labels, small, tag, tags, price, duo, old,
            span, bits, position, words, c0, plain)
        values ('00000000-0000-0000-0000-000000000007', 'ab', array['x', 'yz']::"My Schema".outer_domain[], '{1,2}',
            array['{3,4}'::"My Schema".list_domain], 'c,d', '{"a \"b\"",NULL}', 'z', 'tag', '{t1,t2}', 1234.5, (1, 'q"')::"My Schema".pair,
            '1 2', '[1,5)', B'101', '(1,2)', '{ab,cd}', 'own', '<a/>')"#,
    )
    .execute(&database.owner)
    .await
    .unwrap();
    let source = database.source();
    let relation = ["My Schema.select".to_owned()];
    let mut connection = source.acquire().await.unwrap();
    let text = export_activities::catalogue::init(&mut connection, &relation).await.unwrap();
    drop(connection);
    let text = decided(&text)
        .replace("keys     = \"UNDECIDED\"", "keys     = \"account\"")
        .replace("by       = \"UNDECIDED\"", "by       = 'user \"id\"'")
        .replace("\"UNDECIDED\"", "\"x\"");
    let catalogue = custom(&database, &text).await;
    let mut snapshot = open(&source, &catalogue, Uuid::from_u128(7)).await.unwrap();
    let rows = rows(&mut snapshot, 0).await;
    let [row] = rows.as_slice() else { panic!("{} rows", rows.len()) };
    let plan = &snapshot.plan.entities[0];
    let column = |name: &str| {
        let index = plan.columns.iter().position(|column| column.name == name).unwrap();
        (plan.columns[index].kind.clone(), index)
    };
    let list = |kind| ValueKind::Array(Box::new(kind));
    for (name, expected) in [
        ("chars", "ab  "),
        ("label", "c,d"),
        ("small", "z"),
        ("tag", "tag"),
        ("price", "$1,234.50"),
        ("span", "[1,5)"),
        ("bits", "101"),
        ("position", "(1,2)"),
        ("c0", "own"),
        ("plain", "<a/>"),
    ] {
        let (kind, index) = column(name);
        assert_eq!(kind, ValueKind::Text, "{name}");
        let text = String::from_utf8(row.value(index).unwrap().unwrap().to_vec()).unwrap();
        assert_eq!(text.trim_start_matches('$'), expected.trim_start_matches('$'), "{name}");
    }
    // The server makes these, since `to_json` of them is no string.
    for (name, expected) in [("lists", "[[3,4]]"), ("duo", "{\"x\":1,\"y\":\"q\\\"\"}"), ("old", "[1,2]")] {
        let (kind, index) = column(name);
        assert_eq!(kind, ValueKind::Json, "{name}");
        assert_eq!(row.value(index).unwrap().unwrap(), expected.as_bytes(), "{name}");
    }
    assert_eq!(column("list").0, list(ValueKind::Int4));
    for name in ["char_list", "labels", "tags", "words"] {
        assert_eq!(column(name).0, list(ValueKind::Text), "{name}");
    }
    let labels: Vec<Option<String>> = row.get(column("labels").1);
    assert_eq!(labels, [Some("a \"b\"".to_owned()), None]);
    snapshot.close().await.unwrap();
}
