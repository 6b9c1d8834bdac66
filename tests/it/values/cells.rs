//! Every cell of both formats is what PostgreSQL itself makes of the value.

use export_activities::{
    failure::Failure,
    serialise::{Column, Serialiser, Treatment, ValueKind, formats::PerFormat, pseudonym::Pseudonyms},
};
use futures::TryStreamExt as _;
use proptest::{
    collection::vec,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgRow};
use uuid::Uuid;

use crate::support::{
    csv_reader::records,
    hostile::{TYPES_SQL, Type, types},
    read_session::connect,
};

/// Further values of each type beside its edges.
const VALUES: usize = 300;

#[tokio::test]
async fn both_formats_equal_the_servers_own_text_for_hostile_values_of_every_type() {
    let mut connection = connect().await;
    sqlx::raw_sql(TYPES_SQL).execute(&mut connection).await.unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed());
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for tested in types() {
        let more = vec(tested.more.clone(), VALUES).new_tree(&mut runner).unwrap().current();
        let values = tested.edges.iter().cloned().chain(more).map(Some).chain([None]).collect();
        compare(&mut connection, &tested, values).await;
    }
}

#[tokio::test]
async fn a_megabyte_cell_and_a_deep_document_equal_the_servers_own_text() {
    let mut connection = connect().await;
    sqlx::raw_sql(TYPES_SQL).execute(&mut connection).await.unwrap();
    let long = "=\"a,\n\u{1}é😀".repeat(80_000);
    let deep = format!("{}1{}", "[ {\"a\": ".repeat(2000), "} ] ".repeat(2000));
    for tested in types() {
        let values = match tested.name.as_str() {
            "text" | "varchar" | "pg_temp.label" => vec![Some(long.clone())],
            "json" | "jsonb" => vec![Some(deep.clone()), Some(serde_json::to_string(&long).unwrap())],
            "bytea" => vec![Some(format!("\\x{}", "00ff".repeat(300_000)))],
            "numeric" => vec![Some(format!("{}.{}", "9".repeat(100_000), "1".repeat(16_000)))],
            _ => continue,
        };
        compare(&mut connection, &tested, values).await;
    }
}

#[tokio::test]
async fn a_value_that_is_not_utf8_names_its_row_and_not_itself() {
    let mut connection = connect().await;
    let sql = "select 41 as id, 'secret'::bytea || '\\xff'::bytea as c";
    let row: PgRow = sqlx::query(sql).fetch_one(&mut connection).await.unwrap();
    let columns = vec![column("id", ValueKind::Int4), column("c", ValueKind::Text)];
    let mut serialiser = Serialiser::new("public.t", columns, vec![0], pseudonyms());
    let error = serialiser.row(&row, &mut PerFormat::<Vec<u8>>::default()).unwrap_err();
    let Some(Failure::UnreadableValue { relation, column, row }) = error.downcast_ref() else {
        panic!("{error:?}")
    };
    assert_eq!((relation.as_str(), column.as_str(), row.as_str()), ("public.t", "c", "row with key `41`"));
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
#[should_panic(expected = "timestamp")]
async fn the_comparison_fails_for_a_wrong_encoder() {
    let mut connection = connect().await;
    let tested = types().into_iter().find(|tested| tested.name == "timestamp").unwrap();
    // A timestamp read as one with a zone has a "+00:00" too many.
    let wrong = Type { kind: ValueKind::Timestamptz, ..tested };
    compare(&mut connection, &wrong, vec![Some("2024-01-01 00:00:00".to_owned())]).await;
}

/// Returns another seed each time; a failing test shows it, and takes it from `EXPORT_TEST_SEED`.
#[expect(clippy::print_stderr, reason = "a failing test tells how to repeat it")]
fn seed() -> [u8; 32] {
    let number = match std::env::var("EXPORT_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => Uuid::new_v4().as_u128(),
    };
    eprintln!("EXPORT_TEST_SEED={number}");
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&number.to_be_bytes());
    seed
}

fn column(name: &str, kind: ValueKind) -> Column {
    let (name, pg_type) = (name.to_owned(), "a type".to_owned());
    Column { name, kind, treatment: Treatment::Export, pg_type, about: String::new(), why: String::new() }
}

fn pseudonyms() -> Pseudonyms {
    Pseudonyms::new(b"salt", &Uuid::nil().into()).unwrap()
}

/// Puts the values into a table and compares our two files with what the server makes of it.
async fn compare(connection: &mut PgConnection, tested: &Type, values: Vec<Option<String>>) {
    let (name, made_by) = (&tested.name, &tested.made_by);
    let mut run = async |sql: String| {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(&values);
        query.execute(&mut *connection).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let make = format!(
        "create temp table hostile as select n, {made_by} as c from unnest($1::text[]) with ordinality u(v, n)"
    );
    run(make).await;
    let value = if tested.as_text { "c::text" } else { "c" };
    let is_json = tested.kind.is_json_class();
    let shown = "to_json(c)";
    let cell = if is_json {
        format!("{shown}::text")
    } else {
        format!("case when json_typeof({shown}) = 'string' then {shown} #>> '{{}}' else {shown}::text end")
    };
    // The name makes it another statement for each type: a prepared one must not change its types.
    let sql = format!(
        "select /* {name} */ n, {value} as c, {shown}::text as json, {cell} as cell from hostile order by n"
    );
    let rows: Vec<PgRow> = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await.unwrap();
    let copy = "copy (select n, c from hostile order by n) to stdout (format csv)";
    let copied: Vec<u8> = connection
        .copy_out_raw(copy)
        .await
        .unwrap()
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
        .unwrap();
    sqlx::raw_sql("drop table hostile").execute(&mut *connection).await.unwrap();

    let columns = vec![column("n", ValueKind::Int8), column("c", tested.kind.clone())];
    let (json, csv) = write(&columns, &rows, name);
    assert!(json.starts_with("[\n") && json.ends_with("\n]\n"), "{name}");
    let lines: Vec<&str> = json[2..json.len() - 3].split(",\n").collect();
    let cells = records(csv.strip_prefix("\u{feff}n,c\r\n").unwrap(), "\r\n");
    let copied = records(&String::from_utf8(copied).unwrap(), "\n");
    assert_eq!(lines.len(), rows.len(), "{name}: lines");
    assert_eq!(cells.len(), rows.len(), "{name}: records");
    assert_eq!(copied.len(), rows.len(), "{name}: records of COPY");
    for (index, row) in rows.iter().enumerate() {
        let n: i64 = row.get("n");
        let expected: Option<String> = row.get("json");
        let expected = expected.unwrap_or_else(|| "null".to_owned());
        let token =
            lines[index].strip_prefix(&format!("{{\"n\":{n},\"c\":")).unwrap().strip_suffix('}').unwrap();
        let is_null = expected.trim() == "null";
        assert_same(tested, token, &expected, is_json);
        // The order, and NULL, are COPY's own; only a JSON null is not.
        assert_eq!(cells[index][0], copied[index][0], "{name}: order");
        let copied_null = copied[index][1].is_none();
        assert_eq!(cells[index][1].is_none(), copied_null || (is_json && is_null), "{name}: NULL in row {n}");
        let expected: Option<String> = row.get("cell");
        match (&cells[index][1], expected.filter(|_| !is_null)) {
            (None, None) => {}
            (Some(cell), Some(expected)) => {
                let is_string = row.get::<String, _>("json").starts_with('"');
                if is_json {
                    assert_same(tested, &cell.replace("\\u003b", ";"), &expected, true);
                } else if is_string {
                    assert_eq!(*cell, marked(&expected), "{name}");
                } else {
                    assert_same(tested, cell, &expected, false);
                }
            }
            (cell, expected) => panic!("{name}: {cell:?} is not {expected:?}"),
        }
    }
}

/// Returns JSON and CSV.
fn write(columns: &[Column], rows: &[PgRow], name: &str) -> (String, String) {
    let mut files = PerFormat::<Vec<u8>>::default();
    let mut serialiser = Serialiser::new(name, columns.to_vec(), vec![0], pseudonyms());
    serialiser.begin(&mut files).unwrap();
    for row in rows {
        serialiser.row(row, &mut files).unwrap();
    }
    serialiser.end(&mut files).unwrap();
    (String::from_utf8(files.json).unwrap(), String::from_utf8(files.csv).unwrap())
}

/// Floats are compared as numbers, JSON without its insignificant white space, all else as it stands.
fn assert_same(tested: &Type, ours: &str, servers: &str, is_json: bool) {
    let element = match &tested.kind {
        ValueKind::Array(element) => element,
        kind => kind,
    };
    if matches!(element, ValueKind::Float4 | ValueKind::Float8) {
        let numbers = |text: &str| -> Vec<String> {
            let number = |part: &str| match element {
                ValueKind::Float4 => part.parse::<f32>().map(|number| number.to_string()),
                _ => part.parse::<f64>().map(|number| number.to_string()),
            };
            let parts = text.split(|c: char| "[],\"".contains(c));
            parts.map(|part| number(part).unwrap_or_else(|_| part.to_owned())).collect()
        };
        assert_eq!(numbers(ours), numbers(servers), "{}", tested.name);
    } else if is_json {
        // The one half of a character among the values, which no strict reader takes.
        let servers = without_white_space(servers).replace("\\ud800", "\\\\ud800");
        assert_eq!(ours, servers, "{}", tested.name);
    } else {
        assert_eq!(ours, servers, "{}", tested.name);
    }
}

pub(crate) fn without_white_space(token: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: &char| {
        if inside {
            inside = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        inside = *c == '"';
        !matches!(c, ' ' | '\t' | '\r' | '\n')
    };
    token.chars().filter(keep).collect()
}

/// The rule once more, in other words than the encoder's: each part that a spreadsheet may make a cell of.
fn marked(text: &str) -> String {
    let parts = text.split_inclusive([';', '\t', '\r', '\n']).map(|part| {
        let blank = part.trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
        let mark = if blank
            .starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\''])
        {
            "'"
        } else {
            ""
        };
        format!("{}{mark}{blank}", &part[..part.len() - blank.len()])
    });
    parts.collect()
}
