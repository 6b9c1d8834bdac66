//! Values that have broken exporters before, for every type that has an encoder.

use export_activities::{archive::EntityContents, serialise::ValueKind};
use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgRow};

use super::sample::entity;

/// A PostgreSQL type and how values of it are made.
#[derive(Clone)]
pub(crate) struct Type {
    /// Its name.
    pub(crate) name: String,
    /// Turns the text `v` into a value.
    pub(crate) made_by: String,
    /// How it comes over the wire.
    pub(crate) kind: ValueKind,
    /// Whether it is selected as text, as the generator of statements does for it.
    pub(crate) as_text: bool,
    /// Texts of values that must be among those tried.
    pub(crate) edges: Vec<String>,
    /// Texts of further values.
    pub(crate) more: BoxedStrategy<String>,
}

/// What the types below need, for one connection.
pub(crate) const TYPES_SQL: &str = "\
    create type pg_temp.mood as enum ('sad', 'o''k', '=happy', 'ünï', ' '); \
    create domain pg_temp.label as text; create domain pg_temp.amount as numeric(20, 4); \
    create domain pg_temp.moment as timestamptz; create domain pg_temp.settings as jsonb; \
    create domain pg_temp.tags as text[]";

pub(crate) fn types() -> Vec<Type> {
    let mut types = scalars();
    let arrays: Vec<Type> = types.iter().filter_map(array_of).collect();
    types.extend(arrays);
    types.push(Type {
        name: "pg_temp.tags".to_owned(),
        ..types.iter().find(|t| t.name == "text[]").unwrap().clone()
    });
    types
}

fn new(name: &str, kind: ValueKind, edges: &[&str], more: BoxedStrategy<String>) -> Type {
    Type {
        name: name.to_owned(),
        made_by: format!("v::{name}"),
        kind,
        as_text: false,
        edges: edges.iter().map(|&edge| edge.to_owned()).collect(),
        more,
    }
}

fn scalars() -> Vec<Type> {
    use ValueKind as K;
    let texts = || text(40).boxed();
    let numerics = || {
        prop_oneof![
            "-?[0-9]{1,60}(\\.[0-9]{0,60})?",
            "-?[0-9]{1,9}(\\.[0-9]{1,9})?e-?[0-9]{1,3}",
            "-?0\\.0{0,40}[1-9][0-9]{0,20}",
            "-?[1-9]0{0,40}",
        ]
        .boxed()
    };
    let mut types = vec![
        new("bool", K::Bool, &["true", "false"], any::<bool>().prop_map(|v| v.to_string()).boxed()),
        new("int2", K::Int2, &["-32768", "32767", "0"], any::<i16>().prop_map(|v| v.to_string()).boxed()),
        new(
            "int4",
            K::Int4,
            &["-2147483648", "2147483647"],
            any::<i32>().prop_map(|v| v.to_string()).boxed(),
        ),
        new(
            "int8",
            K::Int8,
            &["-9223372036854775808", "9223372036854775807", "9007199254740993"],
            any::<i64>().prop_map(|v| v.to_string()).boxed(),
        ),
        new(
            "float4",
            K::Float4,
            &[
                "NaN",
                "Infinity",
                "-Infinity",
                "-0",
                "1e-45",
                "3.4028235e+38",
                "999999",
                "1000000",
                "0.0001",
                "0.00001",
            ],
            any::<f32>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:e}")).boxed(),
        ),
        new(
            "float8",
            K::Float8,
            &[
                "NaN",
                "Infinity",
                "-Infinity",
                "-0",
                "5e-324",
                "1.7976931348623157e+308",
                "1e15",
                "999999999999999",
                "1e-5",
                "0.1",
            ],
            any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:e}")).boxed(),
        ),
        new(
            "numeric",
            K::Numeric,
            &[
                "NaN",
                "Infinity",
                "-Infinity",
                "0",
                "0.000",
                "-0.10",
                "1e131071",
                "1e-16383",
                "10000",
                "99999999.99990",
            ],
            numerics(),
        ),
        new("text", K::Text, EDGE_TEXTS, texts()),
        new("varchar", K::Text, EDGE_TEXTS, texts()),
        new("char(12)", K::Text, &["=x", ""], text(12).boxed()),
        new("name", K::Text, &["=x", ""], text(10).boxed()),
        new(
            "pg_temp.mood",
            K::Text,
            &["sad", "o'k", "=happy", "ünï", " "],
            Just("=happy".to_owned()).boxed(),
        ),
        new("pg_temp.label", K::Text, EDGE_TEXTS, texts()),
        new(
            "pg_temp.amount",
            K::Numeric,
            &["0", "-1.5", "1234567890123456.7891"],
            "-?[0-9]{1,12}\\.[0-9]{1,4}".boxed(),
        ),
        new(
            "uuid",
            K::Uuid,
            &["00000000-0000-0000-0000-000000000000"],
            any::<u128>().prop_map(uuid_text).boxed(),
        ),
        new(
            "date",
            K::Date,
            &[
                "infinity",
                "-infinity",
                "0044-03-15 BC",
                "4713-01-01 BC",
                "0001-01-01",
                "5874897-12-31",
                "2000-02-29",
            ],
            date(5_874_897).boxed(),
        ),
        new("time", K::Time, &["00:00:00", "24:00:00", "23:59:59.999999"], clock().boxed()),
        new(
            "timestamp",
            K::Timestamp,
            &[
                "infinity",
                "-infinity",
                "0044-03-15 12:30:00 BC",
                "294276-12-31 23:59:59.999999",
                "2024-02-29 00:00:00.5",
            ],
            stamp().boxed(),
        ),
        new(
            "timestamptz",
            K::Timestamptz,
            &[
                "infinity",
                "-infinity",
                "0044-03-15 00:00:00+00 BC",
                "294276-12-31 23:59:59.999999+00",
                "2024-02-29 01:00:00+14",
            ],
            stamp().boxed(),
        ),
        new("pg_temp.moment", K::Timestamptz, &["infinity", "2024-06-01 12:00:00-03:30"], stamp().boxed()),
        new(
            "interval",
            K::Interval,
            &[
                "0",
                "1 year",
                "-1 year 2 mons -3 days 4 hours",
                "1 day -00:00:00.000001",
                "-1 mons +1 day",
                "178000000 years 11 mons 2147483647 days 2147483647 hours",
                "-178000000 years",
                "-2147483648 days",
                "1 mon",
                "-1 days +00:00:01",
            ],
            interval().boxed(),
        ),
        new("bytea", K::Bytea, &["\\x", "\\x00ff5c22"], vec(any::<u8>(), 0..40).prop_map(bytea_text).boxed()),
        new(
            "inet",
            K::Inet,
            &[
                "0.0.0.0",
                "255.255.255.255/0",
                "::",
                "::1",
                "::2",
                "::ffff:1.2.3.4",
                "::1.2.3.4",
                "1:0:0:2::3/64",
                "::/0",
                "fe80::/10",
                "1:2:3:4:5:6:0:0",
                "0:0:1::",
            ],
            address().boxed(),
        ),
        new("json", K::Json, EDGE_JSON, json(true).boxed()),
        new("jsonb", K::Jsonb, EDGE_JSON, json(false).boxed()),
        new("pg_temp.settings", K::Jsonb, EDGE_JSON, json(false).boxed()),
    ];
    let inet = types.iter().find(|t| t.name == "inet").unwrap().clone();
    types.push(Type { name: "cidr".to_owned(), made_by: "network(v::inet)".to_owned(), ..inet });
    for (name, edges) in [
        ("timetz", &["04:05:06.789-08"][..]),
        ("int4range", &["[1,10)", "empty", "(,5]"]),
        ("point", &["(1,-2.5)"]),
        ("bit varying", &["", "0101"]),
        ("macaddr", &["08:00:2b:01:02:03"]),
        ("tsvector", &["'a':1 'b':2"]),
        ("money", &["-12.34", "0"]),
        ("xml", &["<a>=1</a>"]),
    ] {
        let more = proptest::sample::select(edges.to_vec()).prop_map(str::to_owned).boxed();
        types.push(Type { as_text: true, ..new(name, K::Text, edges, more) });
    }
    types
}

const EDGE_TEXTS: &[&str] = &[
    "",
    " ",
    "'",
    "''",
    "=1+1",
    "+1",
    "-1",
    "@a",
    "＝1",
    "＋1",
    "－1",
    "＠a",
    "\t=1",
    "\r",
    "\n",
    "\r\n=1",
    "\u{7f}=",
    "\u{a0}-",
    "\u{1}\u{2}@",
    "a,b",
    "a\"b",
    "\"",
    "\\",
    "\\.",
    "\\N",
    "null",
    "NULL",
    "true",
    "1e5",
    "\u{feff}=1",
    "\u{202e}abc",
    "שלום",
    "👩‍👩‍👧",
    "\u{2028}",
    "\u{85}=",
    "\u{e000}",
    "\u{10ffff}",
    "{\"a\":1}",
    "\u{200b}=1",
    "''=1",
];

const EDGE_JSON: &[&str] = &[
    "null",
    " null ",
    "\"null\"",
    "{}",
    "[]",
    "[ ]",
    "{\"a\" : 1 , \"a\" : 2}",
    "\"=1\"",
    "-1",
    "1E400",
    "1.50",
    "-0.0",
    "\"\\u00e9 \\\\ \\\" \\/ \\n\"",
    "[1, [2, [ {\"b\":null} ] ] ]",
    "\"  spaces, and , commas  \"",
    "true",
    "123456789012345678901234567890.123456789",
    "{\"\": \"\"}",
    "\"'\"",
];

/// Text of up to `length` characters; PostgreSQL knows no NUL.
pub(crate) fn text(length: usize) -> impl Strategy<Value = String> {
    let special = proptest::sample::select(
        "=+-@'\"\\,;\t\r\n\u{1}\u{b}\u{7f}\u{a0} ＝＠éß漢😀\u{202e}\u{200d}a0".chars().collect::<Vec<_>>(),
    );
    let character = prop_oneof![3 => special, 1 => any::<char>().prop_filter("not NUL", |c| *c != '\0')];
    vec(character, 0..length).prop_map(|characters| characters.into_iter().collect())
}

fn uuid_text(value: u128) -> String {
    uuid::Uuid::from_u128(value).to_string()
}

fn bytea_text(bytes: Vec<u8>) -> String {
    format!("\\x{}", hex::encode(bytes))
}

/// Years before Christ are as likely as others.
fn date(last_year: u32) -> impl Strategy<Value = String> {
    let year = prop_oneof![1900..2100u32, 1..=9999u32, 1..=last_year];
    let era =
        (year, any::<bool>()).prop_map(|(year, bc)| if bc { (year % 4712 + 1, " BC") } else { (year, "") });
    (era, 1..=12u32, 1..=28u32)
        .prop_map(|((year, bc), month, day)| format!("{year:04}-{month:02}-{day:02}{bc}"))
}

fn clock() -> impl Strategy<Value = String> {
    let fraction = prop_oneof![Just(0u32), 0..1_000_000u32, (0..1000u32).prop_map(|ms| ms * 1000)];
    (0..24u32, 0..60u32, 0..60u32, fraction).prop_map(|(h, m, s, f)| format!("{h:02}:{m:02}:{s:02}.{f:06}"))
}

fn stamp() -> impl Strategy<Value = String> {
    (date(294_275), clock()).prop_map(|(date, clock)| match date.strip_suffix(" BC") {
        Some(date) => format!("{date} {clock}+00 BC"),
        None => format!("{date} {clock}+00"),
    })
}

fn interval() -> impl Strategy<Value = String> {
    let small = || prop_oneof![2 => Just(0i64), 3 => -30..30i64, 1 => -1_000_000..1_000_000i64];
    let micros =
        prop_oneof![Just(0i64), -10_000_000..10_000_000i64, -1_000_000_000_000_000..1_000_000_000_000_000i64];
    (small(), small(), micros)
        .prop_map(|(months, days, micros)| format!("{months} mons {days} days {micros} microseconds"))
}

fn address() -> impl Strategy<Value = String> {
    let v4 = (any::<[u8; 4]>(), 0..=32u8)
        .prop_map(|(address, bits)| format!("{}/{bits}", std::net::Ipv4Addr::from(address)));
    let group = prop_oneof![3 => Just(0u16), 1 => Just(1), 1 => Just(0xffff), 1 => any::<u16>()];
    let v6 = (proptest::array::uniform8(group), 0..=128u8)
        .prop_map(|(groups, bits)| format!("{}/{bits}", std::net::Ipv6Addr::from(groups)));
    prop_oneof![v4, v6]
}

/// JSON with white space and escapes anywhere they may stand; `jsonb` knows neither NUL nor half characters.
fn json(any_escape: bool) -> impl Strategy<Value = String> {
    let string = text(12).prop_map(|text| serde_json::to_string(&text).unwrap());
    let escape = if any_escape { "\"\\\\u0000\\\\ud800\"" } else { "\"\\\\ud83d\\\\ude00\\\\u007f\"" };
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?";
    let leaf = prop_oneof![4 => string, 3 => number, 1 => escape, 1 => Just("null".to_owned()), 1 => Just("true".to_owned())];
    let space = || proptest::sample::select(vec!["", " ", "\n", "\t \r\n"]);
    leaf.prop_recursive(6, 40, 5, move |inner| {
        let spaced =
            (space(), inner, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let key = text(6).prop_map(|text| serde_json::to_string(&text).unwrap());
        let member =
            (key, space(), spaced.clone()).prop_map(|(key, space, value)| format!("{key}{space}:{value}"));
        prop_oneof![
            vec(spaced, 0..5).prop_map(|values| format!("[{}]", values.join(","))),
            vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Arrays of one and two dimensions with NULLs, for the types whose texts may be their elements.
fn array_of(element: &Type) -> Option<Type> {
    if element.as_text || element.name == "cidr" {
        return None;
    }
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let edges: Vec<String> = element.edges.iter().map(|edge| quoted(edge)).collect();
    let all = format!("{{{},NULL}}", edges.join(","));
    let item = element.more.clone().prop_map(move |text| quoted(&text));
    let item = prop_oneof![1 => Just("NULL".to_owned()), 4 => item];
    let one = vec(item.clone(), 0..6).prop_map(|items| format!("{{{}}}", items.join(",")));
    let two = (vec(item, 6), any::<bool>()).prop_map(|(items, bounds)| {
        let bounds = if bounds { "[-1:0][5:7]=" } else { "" };
        format!("{bounds}{{{{{}}},{{{}}}}}", items[..3].join(","), items[3..].join(","))
    });
    let name = format!("{}[]", element.name);
    Some(Type {
        made_by: format!("v::{name}"),
        name,
        kind: ValueKind::Array(Box::new(element.kind.clone())),
        as_text: false,
        edges: vec!["{}".to_owned(), "{NULL}".to_owned(), all],
        more: prop_oneof![one, two].boxed(),
    })
}

/// Makes an entity of each type, with its edges, this number of further values and a null, and of each of `edges`: the
/// name of a type and its values. Each has a column `n`, and the values as `c`. Returns the rows, too.
pub(crate) async fn tables(
    connection: &mut PgConnection,
    further: usize,
    edges: Vec<(&'static str, ValueKind, Vec<String>)>,
) -> (Vec<EntityContents>, Vec<Vec<PgRow>>) {
    sqlx::raw_sql(TYPES_SQL).execute(&mut *connection).await.unwrap();
    let mut runner = TestRunner::default();
    let mut wanted = Vec::new();
    for tested in types() {
        let more = vec(tested.more.clone(), further).new_tree(&mut runner).unwrap().current();
        let values = tested.edges.iter().cloned().chain(more).map(Some).chain([None]).collect::<Vec<_>>();
        let value = if tested.as_text { "c::text" } else { "c" };
        wanted.push((tested.name, tested.kind, tested.made_by, value, values));
    }
    for (name, kind, values) in edges {
        let values = values.into_iter().map(Some).collect();
        wanted.push((name.to_owned(), kind, format!("v::{name}"), "c", values));
    }
    let (mut entities, mut rows) = (Vec::new(), Vec::new());
    for (number, (name, kind, made, value, values)) in wanted.into_iter().enumerate() {
        let sql = format!(
            "select n, {value} as c from (select n, {made} as c from unnest($1::text[]) with ordinality u(v, n)) h order by n"
        );
        let found = sqlx::query(AssertSqlSafe(sql)).bind(&values).fetch_all(&mut *connection).await;
        rows.push(found.unwrap_or_else(|error| panic!("{name}: {error}")));
        let mut made = entity(&format!("t{number}"), vec![("n", ValueKind::Int8), ("c", kind)]);
        made.columns[1].pg_type = name;
        entities.push(made);
    }
    (entities, rows)
}
