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
    catalogue::{Catalogue, Finding, FindingKind, Link, follow_foreign_keys},
};
use export_stack::servers::versitygw;
use export_verify::verify;
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::support::{
    database::{Database, database},
    installation_of,
    night_of::{Nights, until_said},
};

/// A row of a table: the relation, and the columns of its primary key.
type Row = (String, String);

fn sql(platform: &str, file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("platforms").join(platform);
    fs::read_to_string(folder.join(file)).unwrap()
}

fn guide(platform: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/platforms").join(platform)
}

async fn run(pool: &PgPool, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(pool).await.unwrap();
}

/// A role that reads what `export_read` may read, whatever row security says. Roles are shared by all tests.
async fn reading_role(database: &Database) -> (String, String) {
    let name = format!("reads_{}", Uuid::new_v4().simple());
    run(
        &database.owner,
        format!("create role {name} login password 'x' bypassrls; grant export_read to {name}"),
    )
    .await;
    let mut url = url::Url::parse(&database.read_url).unwrap();
    url.set_username(&name).unwrap();
    url.set_password(Some("x")).unwrap();
    (name, url.to_string())
}

/// What SQL says of each user: the rows that are theirs, and the marks that may stand in their cells.
#[derive(Default)]
struct Truth {
    rows: BTreeSet<Row>,
    marks: BTreeSet<String>,
}

/// Returns the truth by user, and the columns of each relation's primary key.
async fn truth(pool: &PgPool, platform: &str) -> (BTreeMap<String, Truth>, HashMap<String, Vec<String>>) {
    let (mut truth, mut keys) = (BTreeMap::<String, Truth>::new(), HashMap::new());
    let owned: Vec<(String, String, Value)> =
        sqlx::query_as(AssertSqlSafe(sql(platform, "owned.sql"))).fetch_all(pool).await.unwrap();
    for (user, relation, key) in owned {
        let columns = key.as_object().unwrap().keys().cloned().collect();
        truth.entry(user).or_default().rows.insert((relation.clone(), key.to_string()));
        keys.insert(relation, columns);
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
    rows: BTreeSet<Row>,
    /// Each mark with a place where it stands.
    marks: BTreeMap<String, String>,
    cells: usize,
}

fn read(archive: &Path, keys: &HashMap<String, Vec<String>>) -> Exported {
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
            let key = keys.get(&entity.relation).map(|columns| {
                columns.iter().map(|column| (column.clone(), row.get(column).cloned().unwrap_or_default()))
            });
            let key: Map<String, Value> = key.into_iter().flatten().collect();
            exported.rows.insert((entity.relation.clone(), Value::Object(key).to_string()));
        }
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
    let (role, url) = reading_role(&database).await;
    let source = installation_of::source(&url.clone().into(), 1);
    let report = catalogue.report(&mut source.acquire().await.unwrap()).await.unwrap();
    let open: Vec<_> = report.findings.iter().filter(|finding| !finding.kind.is_warning()).collect();
    assert!(open.is_empty(), "{platform}: {open:#?}");
    let is_unknown = |finding: &&Finding| finding.kind == FindingKind::UnrelatedRelation;
    let unknown: Vec<_> = report.findings.iter().filter(is_unknown).collect();
    assert!(unknown.is_empty(), "{platform}: a table that nobody decided: {unknown:#?}");

    let settings =
        [("EXPORT_SOURCE_URL", url), ("EXPORT_CATALOGUE_DIR", guide(platform).display().to_string())];
    let nights = Nights::with(settings.map(|(name, value)| (name.to_owned(), value)).into()).await;
    let (truth, keys) = truth(&database.owner, platform).await;
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

    let links: Vec<(String, String)> =
        sqlx::query_as("select user_id, download_url from public.data_export_requests")
            .fetch_all(&nights.owner)
            .await
            .unwrap();
    let http = versitygw::http().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let exported: Vec<(String, Exported)> = stream::iter(links)
        .map(|(user, link)| {
            let (http, keys) = (&http, &keys);
            let path = folder.path().join(&user).with_extension("zip");
            async move {
                let answer = http.get(&link).send().await.unwrap().error_for_status().unwrap();
                fs::write(&path, answer.bytes().await.unwrap()).unwrap();
                verify(&path, None).unwrap();
                (user, read(&path, keys))
            }
        })
        .buffer_unordered(4)
        .collect()
        .await;
    let nothing = Truth::default();
    let (mut rows, mut cells) = (0, 0);
    for (user, exported) in &exported {
        let truth = truth.get(user).unwrap_or(&nothing);
        let foreign: Vec<_> = exported.rows.difference(&truth.rows).take(5).collect();
        assert!(foreign.is_empty(), "{platform}: rows of others in the export of user {user}: {foreign:?}");
        let missing: Vec<_> = truth.rows.difference(&exported.rows).take(5).collect();
        assert!(missing.is_empty(), "{platform}: rows that user {user} lacks: {missing:?}");
        let marks: Vec<_> = exported.marks.iter().filter(|(mark, _)| !truth.marks.contains(*mark)).collect();
        assert!(marks.is_empty(), "{platform}: marks of others in the export of user {user}: {marks:?}");
        rows += exported.rows.len();
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
    drop(worker);
    run(&database.owner, format!("revoke export_read from {role}; alter role {role} nologin nobypassrls"))
        .await;
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
async fn documenso() {
    every_user_gets_what_sql_says("documenso").await;
}

/// Returns what a person has to decide in the catalogue that `init` proposes.
async fn left_to_a_person(platform: &str, account: &str, hubs: &[&str], links: &[&str]) -> usize {
    let database = database().await;
    run(&database.owner, sql(platform, "schema.sql")).await;
    run(&database.owner, sql(platform, "fill.sql")).await;
    let (truth, _) = truth(&database.owner, platform).await;
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
    for (platform, account, hubs, links) in [
        ("lago", "public.users", &["public.organizations"][..], &[][..]),
        ("documenso", "public.User", &[], &[]),
        ("supabase", "auth.users", &[], &[]),
        // It has no foreign keys at all.
        ("mattermost", "public.users", &[], &["userid=public.users", "creatorid=public.users"]),
    ] {
        let open = left_to_a_person(platform, account, hubs, links).await;
        assert!(open > 10, "{platform}: {open}");
    }
}
