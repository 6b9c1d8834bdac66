//! Public platforms, each in a minimal equivalent of its schema: with the catalogue of its guide every user gets the rows
//! that SQL says, no cell of anybody else, and an archive that is whole.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Instant,
};

use export_activities::{
    archive::manifest::{MANIFEST_NAME, Manifest},
    catalogue::{Catalogue, Finding, FindingKind, Link, Use, follow_foreign_keys},
};
use export_verify::verify;
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::support::{
    database::{database, run},
    installation_of,
    night_of::{Nights, until_said},
};

/// A row of a table: the relation, and the columns of its primary key.
type Row = (String, String);

/// How often each row is there. Rows that differ only in another person's id, which an export replaces, count as equal.
type Rows = BTreeMap<Row, usize>;

/// Columns of the primary keys, by relation, and whether an export replaces the ids in them. Columns that it leaves out
/// are not there: rows that differ only in them count as equal.
type Keys = HashMap<String, Vec<(String, bool)>>;

/// Names a row by its primary key, with one name for every other person.
fn name(relation: &str, key: &Map<String, Value>, keys: &Keys, user: &str) -> Row {
    // A relation of which nobody owns a row has no key here.
    let columns = keys.get(relation).map(Vec::as_slice).unwrap_or_default();
    let replaced = |column: &str| columns.iter().any(|(name, replaced)| name == column && *replaced);
    let value = |column: &str, value: &Value| {
        // A pseudonymised number is a text.
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let is_own = text == user;
        match replaced(column) {
            true if is_own => Value::String("own".to_owned()),
            true => Value::String("another's".to_owned()),
            false => value.clone(),
        }
    };
    let named = key.iter().filter(|(column, _)| columns.iter().any(|(name, _)| name == *column));
    let key: Map<String, Value> = named.map(|(column, of)| (column.clone(), value(column, of))).collect();
    (relation.to_owned(), Value::Object(key).to_string())
}

/// Returns the rows that are in `these` more often than in `those`.
fn beyond<'r>(these: &'r Rows, those: &Rows) -> Vec<&'r Row> {
    let more = |(row, count): &(&Row, &usize)| *count > those.get(row).unwrap_or(&0);
    these.iter().filter(more).map(|(row, _)| row).take(5).collect()
}

fn sql(platform: &str, file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("platforms").join(platform);
    fs::read_to_string(folder.join(file)).unwrap()
}

fn guide(platform: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/platforms").join(platform)
}

/// What SQL says of each user: the rows that are theirs, and the marks that may stand in their cells.
#[derive(Default)]
struct Truth {
    rows: Rows,
    marks: BTreeSet<String>,
}

/// Returns the truth by user, and the primary keys that it names.
async fn truth(
    pool: &PgPool,
    platform: &str,
    catalogue: Option<&Catalogue>,
) -> (BTreeMap<String, Truth>, Keys) {
    let is = |relation: &str, column: &str, use_: Use| {
        let entities = catalogue.into_iter().flat_map(Catalogue::entities);
        let mut columns =
            entities.filter(|entity| entity.relation == relation).flat_map(|entity| &entity.columns);
        columns.any(|other| other.name == column && other.use_ == use_)
    };
    let (mut truth, mut keys) = (BTreeMap::<String, Truth>::new(), Keys::new());
    let owned: Vec<(String, String, Value)> =
        sqlx::query_as(AssertSqlSafe(sql(platform, "owned.sql"))).fetch_all(pool).await.unwrap();
    for (user, relation, key) in owned {
        let Value::Object(key) = key else { panic!("{key} names no row") };
        keys.entry(relation.clone()).or_insert_with(|| {
            let there = key.keys().filter(|column| !is(&relation, column, Use::Omit));
            there.map(|column| (column.clone(), is(&relation, column, Use::Pseudonym))).collect()
        });
        let row = name(&relation, &key, &keys, &user);
        *truth.entry(user).or_default().rows.entry(row).or_default() += 1;
    }
    let marks: Vec<(String, String)> =
        sqlx::query_as(AssertSqlSafe(sql(platform, "marks.sql"))).fetch_all(pool).await.unwrap();
    for (user, mark) in marks {
        truth.entry(user).or_default().marks.insert(mark);
    }
    (truth, keys)
}

/// What an archive holds of a user.
#[derive(Default)]
struct Exported {
    rows: Rows,
    /// Each mark with a place where it stands.
    marks: BTreeMap<String, String>,
    cells: usize,
}

fn read(archive: &Path, keys: &Keys, user: &str) -> Exported {
    let mut seen = BTreeSet::new();
    let mut zip = zip::ZipArchive::new(fs::File::open(archive).unwrap()).unwrap();
    let manifest: Manifest = serde_json::from_reader(zip.by_name(MANIFEST_NAME).unwrap()).unwrap();
    let mut exported = Exported::default();
    for entity in manifest.entities {
        let mut text = String::new();
        zip.by_name(&format!("json/{}.json", entity.name)).unwrap().read_to_string(&mut text).unwrap();
        let rows: Vec<Map<String, Value>> = serde_json::from_str(&text).unwrap();
        for row in rows {
            exported.cells += row.len();
            for (column, cell) in &row {
                let text = cell.to_string();
                let marks =
                    text.split('~').filter(|mark| ["u:", "o:", "c:"].iter().any(|of| mark.starts_with(of)));
                exported
                    .marks
                    .extend(marks.map(|mark| (format!("~{mark}~"), format!("{}.{column}", entity.name))));
            }
            let columns = keys.get(&entity.relation).map(Vec::as_slice).unwrap_or_default();
            let key = columns
                .iter()
                .map(|(column, _)| (column.clone(), row.get(column).cloned().unwrap_or_default()));
            // A row that two entities have is one row. Without its key, it is told from others by all it has.
            let key: Map<String, Value> = if columns.is_empty() { row } else { key.collect() };
            seen.insert((entity.relation.clone(), Value::Object(key).to_string()));
        }
    }
    for (relation, key) in seen {
        let row = name(&relation, &serde_json::from_str(&key).unwrap(), keys, user);
        *exported.rows.entry(row).or_default() += 1;
    }
    exported
}

#[expect(clippy::print_stdout, reason = "figures for a person")]
async fn every_user_gets_what_sql_says(platform: &str) {
    let database = database().await;
    run(&database.owner, sql(platform, "schema.sql")).await;
    run(&database.owner, sql(platform, "fill.sql")).await;
    let catalogue = Catalogue::load(&guide(platform)).unwrap();
    run(&database.owner, catalogue.grants()).await;
    // Where row security is on, as the guides say.
    let reader = database.reader("bypassrls").await;
    let source = installation_of::source(&reader.url.clone().into(), 1);
    let report = catalogue.report(&mut source.acquire().await.unwrap()).await.unwrap();
    let open: Vec<_> = report.findings.iter().filter(|finding| !finding.kind.is_warning()).collect();
    assert!(open.is_empty(), "{platform}: {open:#?}");
    let is_unknown = |finding: &&Finding| finding.kind == FindingKind::UnrelatedRelation;
    let unknown: Vec<_> = report.findings.iter().filter(is_unknown).collect();
    assert!(unknown.is_empty(), "{platform}: a table that nobody decided: {unknown:#?}");

    let settings = [
        ("EXPORT_SOURCE_URL", reader.url.clone()),
        ("EXPORT_CATALOGUE_DIR", guide(platform).display().to_string()),
    ];
    let nights = Nights::with(settings.map(|(name, value)| (name.to_owned(), value)).into()).await;
    let (truth, keys) = truth(&database.owner, platform, Some(&catalogue)).await;
    let account = catalogue.account();
    let (schema, table) = account.relation.split_once('.').unwrap();
    let users = format!(r#"select "{}"::text from "{schema}"."{table}""#, account.by[0]);
    let users: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(users)).fetch_all(&database.owner).await.unwrap();
    let insert = "insert into public.data_export_requests (user_id) select unnest($1::text[])";
    sqlx::query(insert).bind(&users).execute(&nights.owner).await.unwrap();
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    let begun = Instant::now();
    let night = nights.night().await;
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(night["result"]["fulfilled"], users.len(), "{platform}: {night}");

    let requests: Vec<(String, Uuid)> = sqlx::query_as("select user_id, id from public.data_export_requests")
        .fetch_all(&nights.owner)
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let exported: Vec<(String, Exported)> = stream::iter(requests)
        .map(|(user, request)| {
            let (owner, keys) = (&nights.owner, &keys);
            let path = folder.path().join(&user).with_extension("zip");
            async move {
                fs::write(&path, installation_of::download(owner, request).await).unwrap();
                verify(&path, None).unwrap();
                let exported = read(&path, keys, &user);
                (user, exported)
            }
        })
        .buffer_unordered(4)
        .collect()
        .await;
    let nothing = Truth::default();
    let (mut rows, mut cells) = (0, 0);
    for (user, exported) in &exported {
        let truth = truth.get(user).unwrap_or(&nothing);
        let foreign = beyond(&exported.rows, &truth.rows);
        assert!(foreign.is_empty(), "{platform}: rows of others in the export of user {user}: {foreign:?}");
        let missing = beyond(&truth.rows, &exported.rows);
        assert!(missing.is_empty(), "{platform}: rows that user {user} lacks: {missing:?}");
        let marks: Vec<_> = exported.marks.iter().filter(|(mark, _)| !truth.marks.contains(*mark)).collect();
        assert!(marks.is_empty(), "{platform}: marks of others in the export of user {user}: {marks:?}");
        rows += exported.rows.values().sum::<usize>();
        cells += exported.cells;
    }
    // The controls: there is something to compare, and of more than one user.
    assert!(
        rows > 20 * exported.len() && exported.len() >= 50,
        "{platform}: {rows} rows of {} users",
        exported.len()
    );
    let marked = exported.iter().filter(|(_, exported)| !exported.marks.is_empty()).count();
    assert!(marked > exported.len() / 2, "{platform}: {marked} exports have a mark");
    println!(
        "{platform}: {} accounts, {} entities, {rows} rows, {cells} cells, none of others, none missing; night {seconds:.1} s",
        exported.len(),
        catalogue.entities().len(),
    );
    drop((worker, source));
    database.forget(reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chatwoot() {
    every_user_gets_what_sql_says("chatwoot").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lago() {
    every_user_gets_what_sql_says("lago").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn supabase() {
    every_user_gets_what_sql_says("supabase").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mattermost() {
    every_user_gets_what_sql_says("mattermost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documenso() {
    every_user_gets_what_sql_says("documenso").await;
}

/// Returns what a person has to decide in the catalogue that `init` proposes.
async fn left_to_a_person(platform: &str, account: &str, hubs: &[&str], links: &[&str]) -> usize {
    let database = database().await;
    run(&database.owner, sql(platform, "schema.sql")).await;
    run(&database.owner, sql(platform, "fill.sql")).await;
    let (truth, _) = truth(&database.owner, platform, None).await;
    assert!(truth.len() >= 60, "{platform}: {} users", truth.len());
    let hubs: Vec<String> = hubs.iter().map(|hub| (*hub).to_owned()).collect();
    let links: Vec<Link> = links.iter().map(|link| link.parse().unwrap()).collect();
    let mut connection = database.source().acquire().await.unwrap();
    let text = follow_foreign_keys(&mut connection, account, &hubs, &links).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("catalogue.toml"), text).unwrap();
    let refused = format!("{:#}", Catalogue::load(folder.path()).unwrap_err());
    let (more, told): (Vec<_>, Vec<_>) = refused.lines().partition(|line| line.starts_with("and "));
    let other: Vec<_> = told.iter().filter(|line| !line.to_lowercase().contains("undecided")).collect();
    assert!(other.is_empty(), "{platform}: {other:#?}");
    told.len() + more.iter().filter_map(|line| line.split(' ').nth(1)?.parse::<usize>().ok()).sum::<usize>()
}

#[tokio::test]
async fn a_first_catalogue_of_each_platform_lacks_nothing_but_decisions() {
    let mut open = Vec::new();
    for (platform, account, hubs, links) in [
        ("lago", "public.users", &["public.organizations"][..], &[][..]),
        ("documenso", "public.User", &[], &[]),
        ("supabase", "auth.users", &[], &[]),
        // It has no foreign keys at all.
        ("mattermost", "public.users", &[], &["userid=public.users", "creatorid=public.users"]),
    ] {
        open.push(format!("{platform} {}", left_to_a_person(platform, account, hubs, links).await));
    }
    insta::assert_snapshot!(open.join("\n"), @r#"
lago 300
documenso 163
supabase 124
mattermost 221
"#);
}

#[tokio::test]
async fn the_comparison_sees_a_foreign_row_a_missing_row_and_somebody_elses_id() {
    let keys = Keys::from([(
        "public.shares".to_owned(),
        vec![("note".to_owned(), false), ("user".to_owned(), true)],
    )]);
    let row = |note: i32, user: &str| {
        let key = serde_json::json!({"note": note, "user": user});
        name("public.shares", key.as_object().unwrap(), &keys, "7")
    };
    let rows = |rows: &[Row]| {
        rows.iter().fold(Rows::new(), |mut counted, row| {
            *counted.entry(row.clone()).or_default() += 1;
            counted
        })
    };
    let truth = rows(&[row(1, "7"), row(1, "8"), row(1, "9"), row(2, "7")]);
    let exported = rows(&[row(1, "7"), row(1, "member-a"), row(1, "member-b"), row(2, "7")]);
    assert!(beyond(&exported, &truth).is_empty() && beyond(&truth, &exported).is_empty());
    for (wrong, is_foreign) in [
        (rows(&[row(1, "7"), row(1, "member-a"), row(1, "member-b")]), false),
        (rows(&[row(1, "7"), row(1, "member-a"), row(2, "7")]), false),
        (rows(&[row(1, "7"), row(1, "member-a"), row(1, "member-b"), row(2, "7"), row(3, "7")]), true),
        (rows(&[row(1, "7"), row(1, "member-a"), row(1, "b"), row(1, "c"), row(2, "7")]), true),
    ] {
        assert_eq!(beyond(&wrong, &truth).is_empty(), !is_foreign);
        assert_eq!(beyond(&truth, &wrong).is_empty(), is_foreign);
    }
}
