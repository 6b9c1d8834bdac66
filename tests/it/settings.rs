//! No setting of a server changes a byte of an archive: either the archive is the same, or the read fails as a fault of
//! the system.

use export_activities::{
    archive::EntityContents,
    catalogue::Catalogue,
    failure::{Class, judge},
    pulse::Pulse,
};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, postgres::PgPoolOptions};

use crate::{
    collect::open,
    installation_of::source,
    sample::{contents, write},
    support::database,
    types::{USER, expected, zoo},
};

/// Settings that are texts, and values that would show in an archive.
const TEXTS: [(&str, &str); 8] = [
    ("TimeZone", "Asia/Kolkata"),
    ("DateStyle", "German, DMY"),
    ("client_encoding", "LATIN1"),
    ("lc_monetary", "C.UTF-8"),
    ("lc_numeric", "C.UTF-8"),
    ("lc_time", "C.UTF-8"),
    ("search_path", "public, pg_catalog"),
    ("default_text_search_config", "german"),
];

/// Each setting that a database may have, with the values furthest from the default.
const SETTINGS: &str = "
    select s.name, v.value from pg_catalog.pg_settings s
    cross join lateral (
        select case s.setting when 'on' then 'off' else 'on' end where s.vartype = 'bool'
        union all select e from unnest(s.enumvals) e where s.vartype = 'enum' and e <> s.setting
        union all select e from unnest(array[s.min_val, '1', s.max_val]) e where s.vartype in ('integer', 'real')
    ) v (value)
    where s.context in ('user', 'superuser') and s.category not like 'Reporting and Logging%'
    order by s.name, v.value";

/// Reads everything and returns the archive's bytes.
async fn archive(source: &PgPool, catalogue: &Catalogue) -> anyhow::Result<Vec<u8>> {
    let pulse = Pulse::default();
    let mut snapshot = open(source, catalogue, USER).await?;
    let plan = &snapshot.plan.entities[0];
    let entity = EntityContents {
        name: "zoo".to_owned(),
        relation: plan.relation.clone(),
        about: "Everything.".to_owned(),
        columns: plan.columns.clone(),
        omitted: Vec::new(),
        order: plan.order.clone(),
    };
    let mut read = Vec::new();
    let mut rows = snapshot.rows(0, &pulse)?;
    while let Some(row) = rows.next().await? {
        read.push(row);
    }
    drop(rows);
    snapshot.close().await?;
    assert!(read.len() > 2, "the control: there are rows");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("export.zip");
    write(contents(vec![entity]), vec![read], &path).await;
    Ok(std::fs::read(path)?)
}

/// Sets something for the database; returns whether the server takes it.
async fn set(owner: &mut PgConnection, sql: &str) -> bool {
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(&mut *owner).await.unwrap();
    let sql = format!("alter database {name} {sql}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(owner).await.is_ok()
}

#[tokio::test]
async fn no_setting_of_the_database_changes_a_byte_of_an_archive() {
    let database = database().await;
    let catalogue = zoo(&database).await;
    // One session, which is older than every setting and so has none of them.
    let mut owner = database.owner.acquire().await.unwrap();
    let url = database.read_url.clone().into();
    let expected = archive(&source(&url, 1), &catalogue).await.unwrap();
    let mut settings: Vec<(String, String)> = sqlx::query_as(SETTINGS).fetch_all(&mut *owner).await.unwrap();
    settings.extend(TEXTS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let (mut same, mut failed) = (0, Vec::new());
    for (name, value) in settings {
        if !set(&mut owner, &format!("set {name} = '{value}'")).await {
            continue;
        }
        let pool = source(&url, 1);
        match archive(&pool, &catalogue).await {
            Ok(bytes) => {
                assert!(bytes == expected, "`{name} = {value}` changes the archive");
                same += 1;
            }
            Err(error) => {
                let verdict = judge(&error);
                assert_eq!(verdict.class, Class::System, "`{name} = {value}`: {verdict}");
                failed.push(format!("{name} = {value}: {verdict}"));
            }
        }
        pool.close().await;
        // Some settings cannot be reset by name.
        assert!(set(&mut owner, "reset all").await);
    }
    // The walk must be one, and what may fail is named here.
    assert!(same > 250, "{same} settings were taken");
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn without_our_settings_the_server_writes_other_values() {
    let database = database().await;
    zoo(&database).await;
    let mut owner = database.owner.acquire().await.unwrap();
    let ours = expected(&database.source()).await;
    // One that sqlx itself does not set.
    assert!(set(&mut owner, "set quote_all_identifiers = on").await);
    let plain = PgPoolOptions::new().max_connections(1).connect(&database.read_url).await.unwrap();
    assert_ne!(expected(&plain).await, ours);
    assert_eq!(expected(&database.source()).await, ours);
}
