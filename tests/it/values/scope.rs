//! A part of the data holds exactly the rows that SQL gives for it, with everything that they refer to.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
};

use chrono::{DateTime, TimeDelta, Utc};
use export_activities::scope::{Filters, Scope};
use export_stack::servers::postgres::Role;
use export_verify::verify;
use export_workflows::contract::Outcome;
use futures::{StreamExt as _, stream};
use proptest::{
    collection::vec,
    option,
    prelude::{Strategy, any},
    sample::{select, subsequence},
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use serde_json::{Value, json};

use super::verify::parts;
use crate::support::{
    installation_of::{attempt, request, serve},
    studio::{CATALOGUE, archive, load, owned, studio},
};

const SCOPES: usize = 1000;
const USERS: i64 = 3;

/// Each entity, and what SQL says of user `$1` with a time span and filters.
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
    (option::of(subsequence(names, 1..=6)), vec(moment, 2), any::<[bool; 2]>(), filters).prop_map(
        |(entities, mut moments, [since, until], filters)| {
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
            format!("permanent: scope_refused (the request asks for what is not there: {expected})")
        );
    }
    // The control: another request of the same user is served.
    let whole = request(&superuser, 1).await;
    assert!(matches!(serve(&steps, &attempt(whole, 1)).await.unwrap(), Outcome::Fulfilled { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_an_archive_could_not_prove_stops_the_catalogue() {
    let (_given, steps, folder) = studio().await;
    let mut source = steps.source.acquire().await.unwrap();
    let board = "references = { board_id = \"boards\" }";
    for (target, expected) in [
        ("board_id = \"boards\"", None),
        // An integer and a bigint are written alike.
        ("board_id = \"notes\"", None),
        (
            "label = \"boards\"",
            Some("`label` of entity `cards` refers to `boards`: only whole numbers, uuids and texts"),
        ),
        (
            "board_id = \"diary\"",
            Some("`board_id` of entity `cards` refers to `diary`: only whole numbers, uuids and texts"),
        ),
    ] {
        let diary_is_whole = CATALOGUE.replacen("time = \"day\"\n", "", 1);
        let text = diary_is_whole.replacen(board, &format!("references = {{ {target} }}"), 1);
        let resolved = load(folder.path(), &text).resolve(&mut source).await.map(|_| ());
        let error = resolved.map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(expected.map_or(error.is_empty(), |expected| error.contains(expected)), "{target}: {error}");
    }
    // A key that is replaced by a pseudonym leads nowhere.
    let hidden = CATALOGUE.replacen(
        "[entity.boards.columns]\nid = { type = \"integer\", use = \"export\" }\nowner_id = { type = \"bigint\", use = \"export\" }",
        "[entity.boards.columns]\nid = { type = \"integer\", use = \"pseudonym\" }\nowner_id = { type = \"bigint\", use = \"export\" }",
        1,
    );
    assert_ne!(hidden, CATALOGUE);
    let hidden = hidden.replacen(
        "by = \"id\"\norder = [\"id\"]\n[entity.boards",
        "by = \"id\"\norder = [\"owner_id\"]\n[entity.boards",
        1,
    );
    let error = load(folder.path(), &hidden).resolve(&mut source).await.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("whose table has no primary key of one column that is exported as it is"),
        "{error}"
    );
}
