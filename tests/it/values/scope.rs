//! A part of the data holds exactly the rows that SQL gives for it, with everything that they refer to.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use export_activities::{
    catalogue::Catalogue,
    context::ExportSteps,
    requests::operate,
    scope::{Filters, Scope},
};
use export_stack::servers::postgres::Role;
use export_verify::verify;
use export_workflows::contract::Outcome;
use futures::{StreamExt as _, stream};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any},
    sample::{select, subsequence},
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;

use super::verify::{Parts, join, parts, redigested};
use crate::support::{
    database::run,
    installation_of::{self as given, Given, attempt, download, request, serve},
    readers::readers,
};

/// Breaks one promise.
type Change<'a> = &'a dyn Fn(&mut Parts);

const SCOPES: usize = 1000;
const USERS: i64 = 3;

/// Rows of a year, at the limits of days and in types of every kind that has a time or a filter.
const PLATFORM: &str = "
    create extension citext;
    create schema studio;
    create type studio.state as enum ('open', 'done', 'it''s \"odd\"');
    create domain studio.day as date;
    create table studio.people (id bigint primary key, name text not null);
    create table studio.boards (id integer primary key, owner_id bigint not null references studio.people);
    create table studio.cards (
        id bigint primary key, board_id integer not null references studio.boards, state studio.state, size smallint,
        is_done boolean, label citext, made_at timestamptz);
    -- No index gives its order.
    create table studio.diary (id uuid primary key default gen_random_uuid(), person_id bigint not null, day studio.day);
    create table studio.logins (id bigint primary key, person_id bigint not null, device varchar(20), at timestamp);
    create table studio.notes (id bigint primary key, card_id bigint not null references studio.cards, text text not null);
    insert into studio.people select n, 'person ' || n from generate_series(1, 3) n;
    insert into studio.boards select n, 1 + n % 3 from generate_series(1, 12) n;
    insert into studio.cards
    select n, 1 + n % 12, (array['open', 'done', 'it''s \"odd\"', null])[1 + n / 12 % 4]::studio.state,
        nullif(n / 12 % 6, 5), case n / 12 % 3 when 0 then null else n / 12 % 3 = 1 end,
        (array['Red', 'red', '', 'größe', null])[1 + n / 12 % 5],
        case n when 5 then 'infinity' when 6 then '-infinity' when 7 then '0044-03-15 BC' when 8 then '10000-01-01'
            else nullif(timestamptz '2026-01-01Z' + n * interval '6 hours' - case n % 4 when 1 then interval '1 us' else '0' end,
                timestamptz '2026-01-10Z') end
    from generate_series(1, 1200) n;
    insert into studio.diary (person_id, day)
    select 1 + n % 3, case n when 4 then 'infinity' when 5 then '0001-01-01 BC' when 6 then null
        else date '2026-01-01' + n / 3 end
    from generate_series(1, 1000) n;
    insert into studio.logins
    select n, 1 + n % 3, (array['phone', 'Phone', 'desk top', null])[1 + n / 3 % 4], timestamp '2026-01-01' + n * interval '3 hours'
    from generate_series(1, 2400) n;
    insert into studio.notes select n, 1 + n % 1200, 'note ' || n from generate_series(1, 600) n;
    create index on studio.boards (owner_id, id);
    create index on studio.cards (board_id, made_at, id);
    create index on studio.diary (person_id);
    create index on studio.logins (person_id, id);
    create index on studio.notes (card_id, id);
    alter schema studio owner to export_owner;
";

const CATALOGUE: &str = r#"
[keys.account]
query = "select $1::bigint as key"
[keys.boards]
query = "select id as key from studio.boards where owner_id = $1::bigint"
reads = { "studio.boards" = ["id", "owner_id"] }
[keys.cards]
query = "select c.id as key from studio.cards c join studio.boards b on b.id = c.board_id where b.owner_id = $1::bigint"

[entity.people]
relation = "studio.people"
keys = "account"
by = "id"
order = ["id"]
[entity.people.columns]
id = { type = "bigint", use = "export" }
name = { type = "text", use = "export" }

[entity.logins]
relation = "studio.logins"
keys = "account"
by = "person_id"
order = ["id"]
time = "at"
filter = "device"
references = { person_id = "people" }
[entity.logins.columns]
id = { type = "bigint", use = "export" }
person_id = { type = "bigint", use = "export" }
device = { type = "character varying(20)", use = "export" }
at = { type = "timestamp without time zone", use = "export" }

[entity.cards]
relation = "studio.cards"
keys = "boards"
by = "board_id"
order = ["made_at", "id"]
time = "made_at"
filter = ["state", "size", "is_done", "label"]
references = { board_id = "boards" }
[entity.cards.columns]
id = { type = "bigint", use = "export" }
board_id = { type = "integer", use = "export" }
state = { type = "studio.state", use = "export" }
size = { type = "smallint", use = "export" }
is_done = { type = "boolean", use = "export" }
label = { type = "public.citext", use = "export" }
made_at = { type = "timestamp with time zone", use = "export" }

[entity.boards]
relation = "studio.boards"
keys = "boards"
by = "id"
order = ["id"]
[entity.boards.columns]
id = { type = "integer", use = "export" }
owner_id = { type = "bigint", use = "export" }

[entity.diary]
relation = "studio.diary"
keys = "account"
by = "person_id"
order = ["day", "id"]
time = "day"
[entity.diary.columns]
id = { type = "uuid", use = "export" }
person_id = { type = "bigint", use = "export" }
day = { type = "studio.day", use = "export" }

[entity.notes]
relation = "studio.notes"
keys = "cards"
by = "card_id"
order = ["id"]
[entity.notes.columns]
id = { type = "bigint", use = "export" }
card_id = { type = "bigint", use = "export" }
text = { type = "text", use = "export" }
"#;

/// The entities in the order of the catalogue, and what SQL says of user `$1` with a time span and filters.
const TRUTH: [(&str, &str); 6] = [
    (
        "logins",
        "select t.id::text from studio.logins t where person_id = $1
         and ($2::timestamptz is null or t.at >= $2::timestamptz at time zone 'UTC')
         and ($3::timestamptz is null or t.at < $3::timestamptz at time zone 'UTC')
         and ($4::jsonb->'device' is null or $4::jsonb->'device' ? t.device)",
    ),
    (
        "cards",
        "select t.id::text from studio.cards t join studio.boards b on b.id = t.board_id where b.owner_id = $1
         and ($2::timestamptz is null or t.made_at >= $2) and ($3::timestamptz is null or t.made_at < $3)
         and ($4::jsonb->'state' is null or $4::jsonb->'state' ? t.state::text)
         and ($4::jsonb->'size' is null or $4::jsonb->'size' ? t.size::text)
         and ($4::jsonb->'is_done' is null or $4::jsonb->'is_done' ? t.is_done::text)
         and ($4::jsonb->'label' is null or $4::jsonb->'label' ? t.label::text)",
    ),
    ("people", "select t.id::text from studio.people t where id = $1"),
    ("boards", "select t.id::text from studio.boards t where owner_id = $1"),
    (
        "diary",
        "select t.id::text from studio.diary t where person_id = $1
         and ($2::timestamptz is null or t.day >= $2::timestamptz at time zone 'UTC')
         and ($3::timestamptz is null or t.day < $3::timestamptz at time zone 'UTC')",
    ),
    (
        "notes",
        "select t.id::text from studio.notes t join studio.cards c on c.id = t.card_id
         join studio.boards b on b.id = c.board_id where b.owner_id = $1",
    ),
];

/// What comes along with each entity: the account, and what it refers to.
fn with_references(entities: &[String]) -> BTreeSet<&str> {
    let mut all: BTreeSet<&str> = entities.iter().map(String::as_str).collect();
    all.insert("people");
    if all.contains("cards") {
        all.insert("boards");
    }
    all
}

async fn studio() -> (Given, ExportSteps, TempDir) {
    let given = given::installation().await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    run(&superuser, PLATFORM).await;
    run(&superuser, "grant usage on schema public to export_read").await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalogue.toml"), CATALOGUE).unwrap();
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(&superuser, catalogue.grants()).await;
    let mut steps = given.steps.clone();
    let report = catalogue.report(&mut steps.source.acquire().await.unwrap()).await.unwrap();
    assert!(report.findings.is_empty(), "{report:#?}");
    steps.catalogue = Arc::new(catalogue);
    (given, steps, folder)
}

/// Scopes of every kind that the catalogue has, at moments that rows have, too.
fn scopes() -> impl Strategy<Value = Scope> {
    let names: Vec<String> = TRUTH.map(|(name, _)| name.to_owned()).to_vec();
    let begin: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    let moment = (0..1200_i64, select(vec![-1_i64, 0, 1, 1_800_000_000])).prop_map(move |(quarters, off)| {
        begin + TimeDelta::hours(6 * quarters) + TimeDelta::microseconds(off)
    });
    let of = |column: &'static str, values: &'static [&'static str]| {
        let most = values.len();
        option::weighted(0.4, subsequence(values, 1..=most))
            .prop_map(move |values| values.map(|values| (column.to_owned(), owned(&values))))
    };
    let cards = (
        of("state", &["open", "done", "it's \"odd\"", "Open"]),
        of("size", &["0", "1", "2", "4", "01"]),
        of("is_done", &["true", "false", "t"]),
        of("label", &["Red", "red", "", "größe", "grösse"]),
    );
    let cards = cards.prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect::<BTreeMap<_, _>>());
    let device = of("device", &["phone", "Phone", "desk top", "x' or true --"]);
    let logins = device.prop_map(|device| device.into_iter().collect::<BTreeMap<_, _>>());
    let filters =
        (option::weighted(0.5, cards), option::weighted(0.3, logins)).prop_map(|(cards, logins)| {
            let of = [("cards", cards), ("logins", logins)];
            let some = of.into_iter().filter_map(|(name, columns)| Some((name.to_owned(), columns?)));
            some.filter(|(_, columns)| !columns.is_empty()).collect::<Filters>()
        });
    (option::of(subsequence(names, 1..=6)), vec(moment, 2), any::<[bool; 2]>(), filters, Just(())).prop_map(
        |(entities, mut moments, [since, until], filters, ())| {
            moments.sort_unstable();
            moments[1] += TimeDelta::microseconds(1);
            Scope {
                since: since.then_some(moments[0]),
                until: until.then_some(moments[1]),
                filters: filters
                    .into_iter()
                    .filter(|(name, _)| entities.as_ref().is_none_or(|entities| entities.contains(name)))
                    .collect(),
                entities,
            }
        },
    )
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

async fn archive(steps: &ExportSteps, owner: &PgPool, user: i64, scope: &Scope) -> Vec<u8> {
    let request = operate::create(&steps.state, &user.to_string().parse().unwrap(), scope).await.unwrap();
    let outcome = serve(steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { .. }), "{outcome:?} {scope}");
    download(owner, request).await
}

fn ids(bytes: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    let mut found = BTreeMap::new();
    for name in names {
        let Some(entity) = name.strip_prefix("json/").and_then(|name| name.strip_suffix(".json")) else {
            continue;
        };
        let rows: Vec<Value> = serde_json::from_reader(zip.by_name(&name).unwrap()).unwrap();
        let id = |row: &Value| row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_owned);
        found.insert(entity.to_owned(), rows.iter().map(id).collect());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_scopes_hold_the_rows_that_sql_gives_and_each_archive_proves_it() {
    let (given, steps, folder) = studio().await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    let mut runner = TestRunner::deterministic();
    let scopes: Vec<Scope> = (0..SCOPES)
        .map(|_| scopes().new_tree(&mut runner).unwrap().current())
        // Moments of which no entity knows anything are refused.
        .filter(|scope| scope.part(steps.catalogue.offer()).is_ok())
        .collect();
    let asked = scopes.len();
    let (steps, superuser, folder) = (&steps, &superuser, folder.path());
    let compared = stream::iter(scopes.into_iter().enumerate()).map(|(number, scope)| async move {
        let user = 1 + number as i64 % USERS;
        let bytes = archive(steps, superuser, user, &scope).await;
        let found = ids(&bytes);
        let all: Vec<String> = TRUTH.map(|(name, _)| name.to_owned()).to_vec();
        let expected = with_references(scope.entities.as_deref().unwrap_or(&all));
        assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{scope}");
        let mut rows = 0;
        for (entity, truth) in TRUTH.into_iter().filter(|(entity, _)| expected.contains(entity)) {
            let filters = scope.filters.get(entity).map(|columns| json!(columns));
            let query = sqlx::query_scalar::<_, String>(truth).bind(user);
            // The simplest statements have fewer parameters.
            let query = if truth.contains("$2") { query.bind(scope.since).bind(scope.until) } else { query };
            let query = if truth.contains("$4") { query.bind(filters.unwrap_or(json!({}))) } else { query };
            let truth: BTreeSet<String> = query.fetch_all(superuser).await.unwrap().into_iter().collect();
            assert_eq!(found[entity].len(), truth.len(), "{entity} of {user}: {scope}");
            assert_eq!(
                found[entity].iter().cloned().collect::<BTreeSet<_>>(),
                truth,
                "{entity} of {user}: {scope}"
            );
            rows += truth.len();
        }
        let path = folder.join(format!("{number}.zip"));
        std::fs::write(&path, &bytes).unwrap();
        verify(&path, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        (rows, found["people"].len() == 1 && found.values().any(Vec::is_empty))
    });
    let compared: Vec<_> = compared.buffer_unordered(4).collect().await;
    // The controls: most scopes are possible, and there is much to compare and to leave out.
    let rows: usize = compared.iter().map(|(rows, _)| rows).sum();
    assert!(asked > SCOPES * 9 / 10 && compared.len() == asked, "{asked}");
    assert!(rows > 100_000, "{rows} rows");
    assert!(compared.iter().filter(|(_, has_empty)| *has_empty).count() > 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_spelled_out_is_the_whole_byte_by_byte() {
    let (given, steps, _folder) = studio().await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    let whole = archive(&steps, &superuser, 1, &Scope::default()).await;
    let names = TRUTH.map(|(name, _)| name.to_owned()).to_vec();
    let spelled = archive(&steps, &superuser, 1, &Scope { entities: Some(names), ..Scope::default() }).await;
    // Request, salt and moments differ; the data, and what is said of the whole, does not.
    let data = |bytes: &[u8]| {
        parts(bytes)
            .into_iter()
            .filter(|(name, _)| name.starts_with("json/") || name.starts_with("csv/"))
            .collect::<Vec<_>>()
    };
    assert_eq!(data(&whole), data(&spelled));
    for bytes in [&whole, &spelled] {
        let text = |name: &str| {
            let (_, text) = parts(bytes).into_iter().find(|(entry, _)| entry == name).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert!(!text("manifest.json").contains("\"scope\""));
        assert!(text("README.txt").starts_with("YOUR DATA EXPORT\r\n"));
        assert!(text("index.html").contains("<h1>A copy of your data</h1>"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_catalogue_fails_its_request_with_names_alone() {
    let (given, steps, _folder) = studio().await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    for (columns, values, expected) in [
        (
            "entities",
            "'{tickets}'",
            "there is no entity `tickets`: there are people, logins, cards, boards, diary, notes",
        ),
        (
            "filters",
            r#"'{"cards": {"colour": ["secret value"]}}'"#,
            "`cards` has no filter `colour`: it has state, size, is_done, label",
        ),
        ("filters", r#"'{"boards": {"id": ["1"]}}'"#, "`boards` has no filter `id`: it has none"),
        (
            "entities, filters",
            r#"'{notes}', '{"cards": {"state": ["open"]}}'"#,
            "`cards` has a filter and is not asked for: add it to `entities`",
        ),
        (
            "entities, since",
            "'{notes}', now()",
            "`since` selects nothing: no entity that is asked for has a time",
        ),
    ] {
        let id = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "insert into public.data_export_requests (user_id, {columns}) values ('1', {values}) returning id"
        )));
        let id = id.fetch_one(&superuser).await.unwrap();
        let outcome = serve(&steps, &attempt(id, 1)).await.unwrap();
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        let (reason, error): (String, String) = sqlx::query_as(
            "select failure_reason, last_error from public.data_export_requests where id = $1",
        )
        .bind(id)
        .fetch_one(&superuser)
        .await
        .unwrap();
        assert_eq!(reason, "scope_refused");
        assert_eq!(
            error,
            format!(
                "permanent: scope_refused (the request asks for what the catalogue does not have: {expected})"
            )
        );
    }
    // The control: another request of the same user is served.
    let whole = request(&superuser, 1).await;
    assert!(matches!(serve(&steps, &attempt(whole, 1)).await.unwrap(), Outcome::Fulfilled { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_not_asked_for_and_rows_that_are_missing_are_found_by_verify() {
    let (given, steps, folder) = studio().await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    let scope = Scope {
        entities: Some(owned(&["cards"])),
        since: Some("2026-02-01T00:00:00Z".parse().unwrap()),
        until: Some("2026-05-01T00:00:00Z".parse().unwrap()),
        filters: BTreeMap::from([(
            "cards".to_owned(),
            BTreeMap::from([("size".to_owned(), owned(&["1", "2"]))]),
        )]),
    };
    let bytes = archive(&steps, &superuser, 1, &scope).await;
    let path = folder.path().join("changed.zip");
    let refused = |change: &dyn Fn(&mut Parts)| {
        let mut changed = parts(&bytes);
        change(&mut changed);
        std::fs::write(&path, join(redigested(changed))).unwrap();
        verify(&path, None).map_err(|error| format!("{error:#}")).err()
    };
    assert_eq!(refused(&|_| {}), None);
    let manifest = |parts: &mut Parts, pointer: &str, value: Value| {
        let (_, text) = parts.last_mut().unwrap();
        let mut manifest: Value = serde_json::from_slice(text).unwrap();
        *manifest.pointer_mut(pointer).unwrap() = value;
        *text = serde_json::to_vec(&manifest).unwrap();
    };
    // A row that is taken out of both formats of an entity, with the counts put right.
    let without_row = |parts: &mut Parts| {
        for (name, text) in parts.iter_mut() {
            if name == "json/boards.json" || name == "csv/boards.csv" {
                let mut lines: Vec<_> =
                    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                lines.remove(1);
                *text = lines.concat();
            }
        }
        let (_, text) = parts.last_mut().unwrap();
        let mut manifest: Value = serde_json::from_slice(text).unwrap();
        let entities = manifest["entities"].as_array_mut().unwrap();
        let boards = entities.iter_mut().find(|entity| entity["name"] == "boards").unwrap();
        let rows = boards["rows"].as_u64().unwrap() - 1;
        boards["rows"] = rows.into();
        for file in manifest["files"].as_array_mut().unwrap() {
            if file["name"].as_str().unwrap().contains("/boards.") {
                file["rows"] = rows.into();
            }
        }
        *text = serde_json::to_vec(&manifest).unwrap();
    };
    let cases: [(Change<'_>, &str); 12] = [
        (
            &|parts| manifest(parts, "/scope/since", json!("2026-03-01T00:00:00Z")),
            "the row is from before the time that was asked for",
        ),
        (
            &|parts| manifest(parts, "/scope/until", json!("2026-03-01T00:00:00Z")),
            "the row is from after the time that was asked for",
        ),
        (
            &|parts| manifest(parts, "/scope/filters/cards/size", json!(["1"])),
            "the value is none of those that were asked for",
        ),
        (
            &|parts| manifest(parts, "/scope/complete", json!(true)),
            "the manifest says that a part of the data is complete",
        ),
        (
            &|parts| manifest(parts, "/scope/entities", json!(["cards", "people"])),
            "its entities are not those that the manifest says were asked for",
        ),
        (
            &|parts| manifest(parts, "/scope", json!({"complete": false})),
            "the manifest says that it is a part, and not of what",
        ),
        (
            &|parts| {
                manifest(parts, "/scope", json!({"complete": false, "entities": ["cards"], "exclude": []}))
            },
            "`manifest.json` is not readable",
        ),
        (
            &|parts| manifest(parts, "/scope/until", json!("2026-01-01T00:00:00Z")),
            "the time span of the part ends before it begins",
        ),
        (
            &|parts| manifest(parts, "/scope", Value::Null),
            "the manifest is wrong on whether a time span was asked for",
        ),
        (
            &|parts| manifest(parts, "/entities/1/time", json!("made")),
            "`cards` has no column `made`, by which its rows are checked",
        ),
        (
            &|parts| manifest(parts, "/entities/1/references", json!({"board_id": "lanes"})),
            "`cards` refers to `lanes`, which is not in the archive",
        ),
        (&without_row, "it refers to a row that is not in `json/boards.json`"),
    ];
    for (change, expected) in cases {
        let error = refused(change).expect(expected);
        assert!(error.contains(expected), "{error}");
    }
    // Other programs read a part, too, and find its references whole.
    std::fs::write(&path, &bytes).unwrap();
    let (mut strict, _) = readers(&path).into_iter().find(|(_, expected)| *expected == " rows\n").unwrap();
    let said = strict.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    // What the person reads first.
    let text = |name: &str| {
        let (_, text) = parts(&bytes).into_iter().find(|(entry, _)| entry == name).unwrap();
        String::from_utf8(text).unwrap()
    };
    let readme = text("README.txt").replace("\r\n", "\n");
    assert!(readme.starts_with(
        "THIS IS A PART OF YOUR DATA\n\nThis archive holds a copy of a part of your data, as it was at "
    ));
    let (_, asked) = readme.split_once("Only this was asked for:\n\n").unwrap();
    insta::assert_snapshot!(asked.split_once("\n\n").unwrap().0, @r#"
    - These data sets: people, cards, boards.
    - Of cards, only rows whose made_at is at or after 2026-02-01T00:00:00Z and before 2026-05-01T00:00:00Z (UTC).
    - Of cards, only rows whose size is "1" or "2".
    "#);
    assert!(text("index.html").contains("<h1>A part of your data</h1>"));
    // The log says which columns were filtered, and no value.
    let logged: Value =
        sqlx::query_scalar("select scope from public.data_export_events where kind = 'ready'")
            .fetch_one(&superuser)
            .await
            .unwrap();
    insta::assert_snapshot!(
        logged,
        @r#"{"entities":["cards"],"filters":{"cards":["size"]},"since":"2026-02-01T00:00:00+00:00","until":"2026-05-01T00:00:00+00:00"}"#
    );
}

/// A request says for ever what was asked for, and asks for nothing that cannot be read.
#[tokio::test]
async fn options_have_a_form_and_never_change() {
    let given = given::installation().await;
    let insert = async |columns: &str, values: &str| {
        let sql = format!(
            "insert into public.data_export_requests (user_id, {columns}) values ('1', {values}) returning id"
        );
        sqlx::query_scalar::<_, uuid::Uuid>(sqlx::AssertSqlSafe(sql)).fetch_one(&given.owner).await
    };
    for (columns, values) in [
        ("entities", "'{}'"),
        ("entities", "'{users,users}'"),
        ("entities", "'{users,null}'"),
        ("entities", "'{Users}'"),
        ("entities", "'{{users},{projects}}'"),
        ("since, until", "now(), now()"),
        ("since", "'infinity'"),
        ("until", "'0044-03-15 BC'"),
        ("filters", "'[]'"),
        ("filters", "'null'"),
        ("filters", "'{}'"),
        ("filters", r#"'{"a": {}}'"#),
        ("filters", r#"'{"a": ["b"]}'"#),
        ("filters", r#"'{"a": {"b": []}}'"#),
        ("filters", r#"'{"a": {"b": "c"}}'"#),
        ("filters", r#"'{"a": {"b": [7]}}'"#),
        ("filters", r#"'{"a": {"b": [null]}}'"#),
        ("filters", r#"'{"../a": {"b": ["c"]}}'"#),
        ("filters", r#"jsonb_build_object('a', jsonb_build_object('b', array[repeat('c', 17000)]))"#),
    ] {
        let error = insert(columns, values).await.unwrap_err().to_string();
        assert!(error.contains("violates check constraint"), "{columns} {values}: {error}");
    }
    let id = insert("entities, since, filters", r#"'{users}', '2026-01-01Z', '{"a": {"b": ["c", ""]}}'"#)
        .await
        .unwrap();
    for change in ["entities = null", "since = now()", "until = 'tomorrow'", "filters = null"] {
        let sql = format!("update public.data_export_requests set {change} where id = $1");
        let changed = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).execute(&given.owner).await;
        assert!(
            changed.unwrap_err().to_string().contains("how an export was asked for never changes"),
            "{change}"
        );
    }
}
