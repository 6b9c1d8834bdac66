//! Sessions have the settings that results depend on. No setting of a server changes a byte of an archive: either the
//! archive is the same, or the read fails as a fault of the system.

use export_activities::{
    catalogue::Catalogue,
    database::pool::Pool,
    failure::{Class, judge},
    pulse::Pulse,
    source::snapshot,
};
use export_stack::platform::SeedOptions;
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgPoolOptions};

use crate::{
    support::{
        accounts::{account, open, reference},
        database::database,
        installation_of::source,
        sample::{contents, planned, write},
    },
    values::types::{USER, expected, zoo},
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

/// Attempts at a read. A setting that reached the session would fail all of them.
const ATTEMPTS: usize = 5;

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
async fn archive(source: &Pool, catalogue: &Catalogue) -> anyhow::Result<Vec<u8>> {
    let pulse = Pulse::default();
    let mut snapshot = open(source, catalogue, USER).await?;
    let entity = planned(&snapshot.plan.entities[0]);
    let mut read = Vec::new();
    let mut rows = snapshot.rows(0, None, &pulse)?;
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

/// Changes the settings of the database. Returns whether the server accepts the change.
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
        let mut errors = Vec::new();
        // Some limits are 1 ms, which a busy machine may need before our settings arrive. Such a fault is retried.
        while errors.len() < ATTEMPTS {
            let pool = source(&url, 1);
            let read = archive(&pool, &catalogue).await;
            drop(pool);
            match read {
                Ok(bytes) => {
                    assert!(bytes == expected, "`{name} = {value}` changes the archive");
                    same += 1;
                    break;
                }
                Err(error) => {
                    let verdict = judge(&error);
                    assert_eq!(verdict.class, Class::System, "`{name} = {value}`: {verdict}");
                    errors.push(format!("{name} = {value}: {verdict}"));
                }
            }
        }
        if errors.len() == ATTEMPTS {
            failed.push(errors);
        }
        // Some settings cannot be reset by name.
        assert!(set(&mut owner, "reset all").await);
    }
    // The control: most settings were accepted.
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

#[tokio::test]
async fn a_read_session_has_every_setting_that_values_and_safety_depend_on() {
    let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
    // Settings of role and database, which the session's own must win over; both are gone with the database.
    let name = (*database.source().connect_options()).clone();
    let name = name.get_database().unwrap();
    for setting in [
        "jit = on",
        "statement_timeout = '5min'",
        "quote_all_identifiers = on",
        "idle_in_transaction_session_timeout = '10min'",
        "idle_session_timeout = '10min'",
        "lock_timeout = '10min'",
        "gin_fuzzy_search_limit = 1",
        "transform_null_equals = on",
        "exit_on_error = on",
        "client_min_messages = debug1",
        "lc_time = 'C.UTF-8'",
        "tcp_keepalives_idle = 7200",
        "standard_conforming_strings = off",
    ] {
        let sql = format!(
            "alter database {name} set {setting}; alter role export_read in database {name} set {setting}"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.owner).await.unwrap();
    }
    let source = database.source();
    for (name, value) in [
        ("row_security", "off"),
        ("default_transaction_read_only", "on"),
        ("search_path", "\"\""),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "1"),
        ("bytea_output", "hex"),
        ("lc_monetary", "C"),
        ("jit", "off"),
        ("statement_timeout", "1h"),
        ("quote_all_identifiers", "off"),
        ("idle_in_transaction_session_timeout", "1h"),
        ("idle_session_timeout", "0"),
        ("lock_timeout", "0"),
        ("gin_fuzzy_search_limit", "0"),
        ("transform_null_equals", "off"),
        ("exit_on_error", "off"),
        ("client_min_messages", "error"),
        ("lc_time", "C"),
        ("tcp_keepalives_idle", "60"),
        ("application_name", "export-worker"),
    ] {
        let set: String =
            sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(&source).await.unwrap();
        assert!(set == value || (name == "search_path" && set.is_empty()), "{name} is {set}");
    }
    let wanted = account(seeded.heavy);
    let snapshot = snapshot::open(&source, &catalogue, &wanted, &Pulse::default()).await.unwrap();
    let (state, isolation): (String, bool) = sqlx::query_as(
        "select state, backend_xmin is not null from pg_stat_activity where application_name = $1",
    )
    .bind(format!("export-worker {}", wanted.request_id))
    .fetch_one(&database.owner)
    .await
    .unwrap();
    assert_eq!((state.as_str(), isolation), ("idle in transaction", true));
    snapshot.close().await.unwrap();
}
