//! Each cell of an archive equals the result of `to_json`, for column types of every kind, those of extensions too.

use std::collections::BTreeMap;

use export_activities::{
    archive::manifest::Manifest,
    catalogue::{Catalogue, init},
    serialise::ValueKind,
};
use export_verify::verify;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgExecutor, Row as _};
use uuid::Uuid;

use crate::{
    support::{
        accounts::{open, rows},
        database::{Database, database},
        readers::opens_everywhere,
        sample::{contents, decided, planned, write},
    },
    values::cells::without_white_space,
};

const TYPES: &str = "
    create extension citext; create extension hstore; create extension ltree;
    create type public.mood as enum ('sad', 'happy');
    create type public.shouted as enum ('sad', 'happy');
    create function public.shout(public.shouted) returns text language sql immutable
        as $$ select pg_catalog.upper(pg_catalog.format('%s', $1)) $$;
    create cast (public.shouted as text) with function public.shout(public.shouted);
    create type public.described as enum ('sad', 'happy');
    create function public.describe(public.described) returns json language sql immutable
        as $$ select pg_catalog.json_build_object('mood', pg_catalog.format('%s', $1)) $$;
    create cast (public.described as json) with function public.describe(public.described);
    create type public.pair as (x integer, y text);
    create type public.nest as (pairs public.pair[], at timestamptz, odd json, span int4range, ratio float8);
    create domain public.pair_domain as public.pair;
    create domain public.numbers as integer[];
    create domain public.email as citext;
    create domain public.flag as public.mood;";

/// Types, and values of each; whether the server makes the JSON of it.
const COLUMNS: &[(&str, &[&str], bool)] = &[
    ("citext", &["'=A'", "'a;=1'"], false),
    ("public.email", &["'A@b.example'"], false),
    ("citext[]", &["array['A', 'b;=1', null]::citext[]", "'{}'"], true),
    ("ltree", &["'a.b'"], false),
    ("ltree[]", &["array['a.b', 'c']::ltree[]"], true),
    ("hstore", &["'a=>1, \"b c\"=>null, d=>\";=1+1\"'", "''"], true),
    ("hstore[]", &["array['a=>1'::hstore, null]"], true),
    ("int4range", &["'[1,5)'", "'empty'"], false),
    ("int4range[]", &["array['[1,5)', 'empty']::int4range[]"], true),
    ("nummultirange", &["'{[1,2],[3,4)}'"], false),
    ("public.pair", &["row(1, 'q\"; =1')::public.pair", "row(null, null)::public.pair"], true),
    ("public.pair[]", &["array[row(1, 'a'), null]::public.pair[]"], true),
    ("public.pair_domain", &["row(2, 'b')::public.pair"], true),
    (
        "public.nest",
        &[
            "row(array[row(1, 'a')::public.pair], '2024-02-29 01:00:00+14', '{\"a\" : \"\\ud800\"}', '[1,2)', 0.1)::public.nest",
        ],
        true,
    ),
    ("public.numbers", &["'{1,2}'", "'{{1,2},{3,4}}'"], false),
    ("public.numbers[]", &["array['{1,2}'::public.numbers, '{{3},{4}}'::public.numbers]"], true),
    ("public.mood", &["'happy'"], false),
    ("public.flag", &["'happy'"], false),
    ("public.mood[]", &["'{sad,NULL}'"], false),
    ("public.shouted", &["'happy'"], false),
    ("public.shouted[]", &["'{happy}'"], true),
    ("public.described", &["'happy'"], true),
    ("public.described[]", &["'{happy,NULL}'"], true),
    ("xml", &["xml '<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>=é</a>'", "'<a/>'"], false),
    ("xml[]", &["array[xml '<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>']"], true),
    ("int2vector", &["'1 2'"], true),
    ("oidvector", &["'1 2'"], true),
    ("\"char\"", &["'z'"], false),
    ("\"char\"[]", &["'{z}'"], false),
    ("money", &["'-12.34'"], false),
    ("money[]", &["'{1,2}'"], true),
    ("tsvector", &["'a:1 b:2'"], false),
    ("point", &["'(1,-2.5)'"], false),
    ("point[]", &["array['(1,2)'::point]"], true),
    ("box[]", &["array['(1,2),(3,4)'::box, '(1,2),(3,4)']"], true),
    ("bit(3)[]", &["array[B'101']"], true),
    ("jsonpath", &["'$.a'"], false),
    ("inet[]", &["'{10.0.0.1/8,::1}'"], false),
    ("macaddr[]", &["'{08:00:2b:01:02:03}'"], true),
    ("time with time zone", &["'04:05:06.789-08'"], false),
    ("time with time zone[]", &["'{04:05:06-08}'"], true),
    ("pg_lsn", &["'0/16AE7F8'"], false),
    ("xid8[]", &["'{7}'"], true),
    ("regclass", &["'pg_catalog.pg_class'"], false),
    ("name[]", &["'{a,b}'"], false),
    ("uuid[]", &["array['00000000-0000-0000-0000-000000000007'::uuid]"], false),
    (
        "json",
        &["'{\"a\" : [\"\\ud800\", \"\\ud83d\\ude00\", 1.50, \";=1\"]}'", "'null'", "'9007199254740993'"],
        false,
    ),
    ("json[]", &["array['\"\\udfff\"', 'null', '{ }']::json[]"], false),
    ("jsonb", &["'{\"a\": 1E400, \"b\": \";=1\"}'"], false),
    ("timestamptz", &["'infinity'", "'0044-03-15 12:00+00 BC'"], false),
];

pub(crate) const USER: Uuid = Uuid::from_u128(7);

/// Makes a table with a column of each type, and a catalogue that exports all of them.
pub(crate) async fn zoo(database: &Database) -> Catalogue {
    let run = async |sql: String| sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.owner).await.unwrap();
    run(TYPES.to_owned()).await;
    let columns: Vec<_> =
        COLUMNS.iter().enumerate().map(|(index, (pg_type, ..))| format!("c{index} {pg_type}")).collect();
    run(format!("create table public.zoo (id uuid, n integer primary key, {})", columns.join(", "))).await;
    let longest = COLUMNS.iter().map(|(_, values, _)| values.len()).max().unwrap();
    // The last row has no value at all.
    for row in 0..=longest {
        let values = COLUMNS.iter().map(|(_, values, _)| *values.get(row).unwrap_or(&"null"));
        let values = values.collect::<Vec<_>>().join(", ");
        run(format!("insert into public.zoo values ('{USER}', {row}, {values})")).await;
    }
    let source = database.source();
    let text = init(&mut source.acquire().await.unwrap(), &["public.zoo".to_owned()]).await.unwrap();
    let text = decided(&text)
        .replace("keys     = \"UNDECIDED\"", "keys     = \"account\"")
        .replace("by       = \"UNDECIDED\"", "by       = \"id\"")
        .replace("\"UNDECIDED\"", "\"x\"");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalogue.toml"), text).unwrap();
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(catalogue.grants()).await;
    catalogue
}

/// The server's own result for each column, row by row.
pub(crate) async fn expected(source: impl PgExecutor<'_>) -> Vec<Vec<Option<String>>> {
    let cells: Vec<_> =
        (0..COLUMNS.len()).map(|index| format!("pg_catalog.to_json(c{index})::pg_catalog.text")).collect();
    let sql = format!("select {} from public.zoo order by n", cells.join(", "));
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(source).await.unwrap();
    rows.iter().map(|row| (0..COLUMNS.len()).map(|index| row.get(index)).collect()).collect()
}

#[tokio::test]
async fn every_cell_is_what_to_json_gives_and_every_reader_takes_it() {
    let database = database().await;
    let catalogue = zoo(&database).await;
    let source = database.source();
    let mut snapshot = open(&source, &catalogue, USER).await.unwrap();
    let plan = &snapshot.plan.entities[0];
    let columns: Vec<_> = plan.columns.clone();
    let entity = planned(plan);
    let read = rows(&mut snapshot, 0).await;
    snapshot.close().await.unwrap();
    let count = read.len();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    write(contents(vec![entity]), vec![read], &path).await;
    // JSON and CSV agree in each cell, so comparing one of them is enough.
    verify(&path, None).unwrap();
    opens_everywhere(&path, count * columns.len());

    let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
    let json = std::io::read_to_string(zip.by_name("json/zoo.json").unwrap()).unwrap();
    let ours: Vec<BTreeMap<String, Box<RawValue>>> = serde_json::from_str(&json).unwrap();
    let expected = expected(&source).await;
    assert_eq!(ours.len(), expected.len());
    let mut halves = 0;
    for (row, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
        for (index, (pg_type, _, is_made)) in COLUMNS.iter().enumerate() {
            let name = format!("c{index}");
            let kind = &columns.iter().find(|column| column.name == name).unwrap().kind;
            assert!(!is_made || *kind == ValueKind::Json, "{pg_type} is read as {kind:?}");
            let theirs = expected[index].as_deref().unwrap_or("null");
            // Half a character is the one thing that a strict reader would not take.
            let strict = theirs.replace("\\ud800", "\\\\ud800").replace("\\udfff", "\\\\udfff");
            halves += usize::from(strict != theirs);
            assert_eq!(ours[&name].get(), without_white_space(&strict), "{pg_type}, row {row}");
        }
    }
    assert_eq!(halves, 3, "the control: the values hold halves");
    let manifest: Manifest = serde_json::from_reader(zip.by_name("manifest.json").unwrap()).unwrap();
    let counted = |pg_type: &str| {
        let column = manifest.entities[0].columns.iter().find(|column| column.pg_type == pg_type).unwrap();
        column.cells_with_escaped_halves
    };
    assert_eq!(counted("json"), Some(1));
    assert_eq!(counted("json[]"), Some(1));
    assert_eq!(counted("public.nest"), Some(1));
    assert_eq!(counted("jsonb"), None);
}
