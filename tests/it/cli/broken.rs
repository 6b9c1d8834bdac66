//! Broken set-ups: doctor, `run` and `status` name the cause and a remedy that repairs it, and nothing else is blamed.

use std::collections::BTreeMap;

use export_stack::{
    servers::{postgres::Role, worker},
    shared::{TestInstallation, stack},
    wait,
};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use uuid::Uuid;

use crate::support::night_of::SOON;

type Environment = BTreeMap<String, String>;
/// Variables that differ.
type Variables = &'static [(&'static str, &'static str)];

/// How a set-up is broken.
enum Broken {
    /// These variables differ; none takes one away.
    Set(Variables),
    /// This SQL was run by a role on the database.
    Sql(Role, &'static str),
    /// The end of a variable is replaced.
    End(&'static str, &'static str),
    /// An object of this name was put into the bucket, beside which there is a mark or not.
    Object(&'static str, &'static str),
}
use Broken::{End, Object, Set, Sql};

/// What the doctor must report: the line, its state, a part of the cause and a part of the remedy.
type Said = (&'static str, &'static str, &'static str, &'static str);

/// What `run` logs while it waits or says when it refuses to start, or what `status` says: a part of the cause and a part
/// of the remedy. None: `run` serves, and `status` finds nothing, because it does not look there.
type Line = Option<(&'static str, &'static str)>;

const NO_KEYS: &[(&str, &str)] =
    &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_EC2_METADATA_DISABLED", "true")];
const SIGNING: &str = "EXPORT_SIGNING_SECRET_ACCESS_KEY";

/// A set-up, and what the doctor, `run` and `status` say.
const SET_UPS: [(Broken, Said, Line, Line); 29] = [
    (
        Set(NO_KEYS),
        ("signing credentials", "failed", "no credentials", "AWS_ACCESS_KEY_ID"),
        Some(("the store: there are no credentials", "AWS_ACCESS_KEY_ID")),
        None,
    ),
    (
        Set(&[("AWS_SECRET_ACCESS_KEY", "wrong")]),
        ("installation", "failed", "credentials were refused", "AWS_SECRET_ACCESS_KEY"),
        Some(("the store: the credentials were refused", "AWS_SECRET_ACCESS_KEY")),
        None,
    ),
    (
        Set(&[("AWS_ACCESS_KEY_ID", "nobody")]),
        ("installation", "failed", "credentials were refused", "AWS_ACCESS_KEY_ID"),
        Some(("the store: the credentials were refused", "AWS_ACCESS_KEY_ID")),
        None,
    ),
    (
        Set(&[("AWS_SESSION_TOKEN", "t")]),
        ("signing credentials", "failed", "temporary", SIGNING),
        Some(("temporary", SIGNING)),
        None,
    ),
    (
        Set(&[("EXPORT_SIGNING_ACCESS_KEY_ID", "nobody"), (SIGNING, "x")]),
        ("store", "failed", "the link does not work", SIGNING),
        None,
        None,
    ),
    (
        Set(&[("EXPORT_BUCKET", "there-is-none")]),
        ("installation", "failed", "no such bucket", "EXPORT_BUCKET"),
        Some(("the store: there is no such bucket", "EXPORT_BUCKET")),
        None,
    ),
    (
        Set(&[("EXPORT_S3_ENDPOINT", "http://127.0.0.1:1")]),
        ("installation", "failed", "nothing answers", "EXPORT_S3_ENDPOINT"),
        Some(("the store: nothing answers", "EXPORT_S3_ENDPOINT")),
        None,
    ),
    (
        Set(&[("EXPORT_PUBLIC_ENDPOINT", "http://127.0.0.1:1")]),
        ("public endpoint", "warning", "", "browser"),
        None,
        None,
    ),
    (
        Set(&[("EXPORT_DATABASE_URL", "postgres://export_state:x@127.0.0.1:1/p")]),
        ("database", "failed", "nothing answers", "EXPORT_DATABASE_URL"),
        Some(("the database: nothing answers", "EXPORT_DATABASE_URL")),
        Some(("nothing answers", "EXPORT_DATABASE_URL")),
    ),
    (
        End("EXPORT_DATABASE_URL", "there_is_none"),
        ("database", "failed", "no such database", "EXPORT_DATABASE_URL"),
        Some(("the database: there is no such database", "EXPORT_DATABASE_URL")),
        Some(("no such database", "EXPORT_DATABASE_URL")),
    ),
    (
        End("EXPORT_DATABASE_URL", "postgres"),
        ("migrations", "failed", "missing: 20261121000001", "export-worker migrate"),
        Some(("the database: our tables are missing", "export-worker migrate")),
        Some(("our tables are missing", "export-worker migrate")),
    ),
    (
        Set(&[("EXPORT_SOURCE_URL", "postgres://export_read:x@127.0.0.1:1/p")]),
        ("source database", "failed", "nothing answers", "EXPORT_SOURCE_URL"),
        Some(("the source database: nothing answers", "EXPORT_SOURCE_URL")),
        Some(("nothing answers", "EXPORT_SOURCE_URL")),
    ),
    (
        End("EXPORT_SOURCE_URL", "postgres"),
        ("catalogue", "failed", "`public.users` does not exist", "EXPORT_SOURCE_URL"),
        None,
        Some(("`public.users` does not exist (and ", "catalogue check")),
    ),
    (
        Sql(Role::Owner, "alter table public.releases drop column notes"),
        ("catalogue", "failed", "notes", "catalogue"),
        None,
        Some(("column `public.releases.notes` does not exist", "catalogue check")),
    ),
    (
        Sql(Role::Owner, "alter table public.releases alter column notes type varchar"),
        ("catalogue", "failed", "notes", "catalogue"),
        None,
        Some(("column `public.releases.notes` is of type", "catalogue check")),
    ),
    (
        Sql(Role::Owner, "alter table public.users add column shoe_size int"),
        ("catalogue", "failed", "shoe_size", "`use` of a column"),
        None,
        None,
    ),
    (
        Sql(Role::Owner, "alter table public.users enable row level security"),
        ("catalogue", "failed", "alter role export_read bypassrls", ""),
        None,
        Some(("row-level security of `public.users`", "catalogue check")),
    ),
    (
        Sql(Role::Owner, "revoke select on public.releases from export_read"),
        ("rights of export_read", "failed", "public.releases", "export-worker grants"),
        None,
        Some(("export_read lacks a right on what `public.releases` reads", "export-worker grants")),
    ),
    (
        Sql(Role::Owner, "grant select on public.users to export_read"),
        ("rights of export_read", "failed", "password_hash", "export-worker grants"),
        None,
        None,
    ),
    (
        Sql(Role::Owner, "revoke update on public.data_export_requests from export_state"),
        ("rights of export_state", "failed", "UPDATE on public.data_export_requests", "export-worker grants"),
        None,
        None,
    ),
    (
        Sql(Role::Owner, "revoke insert (formats, since) on public.data_export_requests from export_state"),
        (
            "rights of export_state",
            "failed",
            "INSERT of since, formats on public.data_export_requests",
            "export-worker grants",
        ),
        None,
        None,
    ),
    (
        Sql(Role::Owner, "grant insert on public.data_export_events to export_state"),
        ("rights of export_state", "failed", "write the log", "export-worker grants"),
        None,
        None,
    ),
    (
        Sql(Role::Owner, "grant select on public.data_export_requests to public"),
        ("readers of links", "failed", "download_url", "EXPORT_PLATFORM_ROLES"),
        None,
        None,
    ),
    (
        Sql(Role::Owner, "alter table public.data_export_events rename to events_before"),
        ("rights of export_state", "failed", "data_export_events is gone", "renaming"),
        None,
        None,
    ),
    (
        Sql(
            Role::Owner,
            "update public.data_export_migrations set checksum = 'x' where version = 20261121000003",
        ),
        ("migrations", "failed", "20261121000003", "release that applied"),
        None,
        None,
    ),
    (
        Sql(
            Role::Owner,
            "insert into public.data_export_migrations (version, description, success, checksum, execution_time) values (20990101000000, 'x', true, 'x', 0)",
        ),
        ("migrations", "failed", "newer release", "that release"),
        None,
        None,
    ),
    (
        Sql(Role::Owner, "update public.data_export_installation set location = 's3://elsewhere'"),
        ("installation", "failed", "s3://elsewhere", "export-worker bucket move"),
        Some(("s3://elsewhere", "export-worker bucket move")),
        None,
    ),
    (
        Object("exports/by-hand.zip", "x"),
        ("installation", "failed", "no mark", "--adopt-bucket"),
        Some(("holds objects but no mark", "export-worker doctor --adopt-bucket")),
        None,
    ),
    (
        Object("exports/.installation", "0198c6b2-0a4e-4c51-9d6e-2f3f0c6f7a10"),
        ("installation", "failed", "belongs to installation 0198c6b2", "--adopt-bucket"),
        Some(("belongs to installation 0198c6b2", "export-worker doctor --adopt-bucket")),
        None,
    ),
];

/// The same for set-ups without separate servers: only Temporal's lines and the lines of this machine.
const BESIDE: [(Variables, Said, Line, Line); 8] = [
    (
        &[("TEMPORAL_ADDRESS", "127.0.0.1:1")],
        ("Temporal", "failed", "cannot reach Temporal", "TEMPORAL_ADDRESS"),
        Some(("Waiting for Temporal: cannot reach Temporal", "TEMPORAL_ADDRESS")),
        Some(("cannot reach Temporal", "TEMPORAL_ADDRESS")),
    ),
    (
        &[("TEMPORAL_NAMESPACE", "there-is-none")],
        ("Temporal", "failed", "no namespace", "TEMPORAL_NAMESPACE"),
        Some(("Waiting for Temporal: there is no namespace", "TEMPORAL_NAMESPACE")),
        Some(("there is no namespace", "TEMPORAL_NAMESPACE")),
    ),
    (
        &[("EXPORT_CODEC_KEY_FILE", "/nowhere")],
        ("Temporal", "failed", "EXPORT_CODEC_KEY_FILE", "files that it names"),
        Some(("EXPORT_CODEC_KEY_FILE `/nowhere`: it cannot be read", "EXPORT_CODEC_KEY_FILE")),
        Some(("EXPORT_CODEC_KEY_FILE", "files that it names")),
    ),
    (
        &[("EXPORT_NOTICE_FILE", "/nowhere")],
        ("start", "failed", "EXPORT_NOTICE_FILE", "variables"),
        Some(("EXPORT_NOTICE_FILE", "/nowhere")),
        None,
    ),
    (
        &[("EXPORT_HTTP_ADDR", "192.0.2.1:9464")],
        ("metrics address", "failed", "cannot listen", "EXPORT_HTTP_ADDR"),
        Some(("cannot listen at 192.0.2.1:9464", "EXPORT_HTTP_ADDR")),
        None,
    ),
    (
        &[("EXPORT_SPOOL_DIR", "/proc/version/x")],
        ("spool", "failed", "spool directory", "EXPORT_SPOOL_DIR"),
        Some(("spool directory `/proc/version/x`", "EXPORT_SPOOL_DIR")),
        None,
    ),
    (
        &[("EXPORT_SPOOL_DIR", "/tmp")],
        ("spool", "failed", "spool directory", "EXPORT_SPOOL_DIR"),
        Some(("spool directory `/tmp`", "EXPORT_SPOOL_DIR")),
        None,
    ),
    (&[], ("worker", "warning", "no worker polls", "export-worker run"), None, None),
];

async fn doctor(environment: &Environment) -> Vec<Value> {
    let arguments = ["--output", "json", "doctor"];
    let output =
        wait::within("the doctor", SOON, worker::output(environment, &arguments)).await.unwrap().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn check(lines: &[Value], (check, state, cause, remedy): Said) {
    let line = lines.iter().find(|line| line["check"] == check);
    let line = line.unwrap_or_else(|| panic!("no line `{check}` in {lines:#?}"));
    let (found, said) = (line["found"].as_str().unwrap(), line["remedy"].as_str().unwrap_or_default());
    assert!(line["state"] == state && found.contains(cause) && said.contains(remedy), "{check}: {line:#}");
    // No line blames a working part: a check that could not run says so.
    for other in lines.iter().filter(|line| line["state"] == "failed" && line["check"] != check) {
        let named = [other["found"].as_str().unwrap(), other["remedy"].as_str().unwrap_or_default()].concat();
        assert!(
            [
                "schedules",
                "nightly_batch",
                "export_expiry",
                "encryption",
                // Its probe goes through the spool.
                "store",
                "installation",
                "catalogue",
                "rights of export_read",
                // What everybody may, it may, too.
                "rights of export_portal",
                "start"
            ]
            .iter()
            .any(|known| other["check"].as_str().unwrap().contains(known)),
            "beside `{check}`: {named}"
        );
    }
}

fn set(environment: &mut Environment, variables: &[(&str, &str)]) {
    for (name, text) in variables {
        environment.insert((*name).to_owned(), (*text).to_owned());
    }
}

/// Starts a worker, which must serve, or log or say this one line.
async fn check_run(environment: &Environment, expected: Line) {
    let (what, name) = (format!("`run` to say {expected:?}"), format!("broken-{}", Uuid::new_v4().simple()));
    let worker = stack().await.unwrap().start_worker(&name, &["run"], environment.clone()).unwrap();
    let worker = worker.kill_on_drop();
    let says = |log: &str| match expected {
        None => log.contains("Polling task queue"),
        Some((cause, remedy)) => log.lines().any(|line| line.contains(cause) && line.contains(remedy)),
    };
    let said = wait::until(&what, SOON, || async {
        let ended = worker.ending()?.is_some();
        let log = worker.output();
        if says(&log) {
            return Ok(Some(log));
        }
        anyhow::ensure!(!ended && (expected.is_none() || !log.contains("Polling task queue")), "it did not");
        Ok(None)
    });
    let log = said.await.unwrap_or_else(|error| panic!("{error}: {}", worker.last_words()));
    // The worker waits for nothing else.
    let waits = log.lines().filter(|line| line.contains("Waiting for ")).count();
    assert!(waits <= usize::from(expected.is_some()), "{log}");
}

/// Asks for the status, which must name this one cause beside the schedules and workers that no set-up here has.
async fn check_status(environment: &Environment, expected: Line) {
    let arguments = ["--output", "json", "status"];
    let output =
        wait::within("the status", SOON, worker::output(environment, &arguments)).await.unwrap().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let text = |trouble: &Value, field: &str| trouble[field].as_str().unwrap().to_owned();
    let troubles = status["troubles"].as_array().unwrap().iter();
    let troubles = troubles.map(|trouble| (text(trouble, "cause"), text(trouble, "remedy")));
    // The namespace is shared with other tests, whose nights may have failed.
    let known = ["schedule `", "no worker polls task queue", "did not complete", "is stuck", "counted what"];
    let troubles: Vec<_> =
        troubles.filter(|(cause, _)| !known.iter().any(|known| cause.contains(known))).collect();
    let fits = match (expected, troubles.as_slice()) {
        (None, []) => true,
        (Some((cause, remedy)), [(found, advised)]) => found.contains(cause) && advised.contains(remedy),
        _ => false,
    };
    assert!(fits, "{expected:?}: {troubles:#?}");
}

/// Asks the three of them; `run` comes last, because it marks the bucket.
async fn check_all(environment: &Environment, said: Said, run: Line, status: Line) {
    check(&doctor(environment).await, said);
    check_status(environment, status).await;
    check_run(environment, run).await;
}

async fn examine((broken, said, run, status): &(Broken, Said, Line, Line)) {
    let installation = TestInstallation::new().await.unwrap();
    let mut environment = installation.environment().await.unwrap();
    match broken {
        Set(variables) => set(&mut environment, variables),
        End(variable, end) => {
            let url = environment[*variable].rsplit_once('/').unwrap().0.to_owned();
            environment.insert((*variable).to_owned(), format!("{url}/{end}"));
        }
        Sql(role, sql) => {
            let postgres = &stack().await.unwrap().servers().postgres;
            postgres.run(*role, installation.database.name(), (*sql).to_owned()).await.unwrap();
        }
        Object(key, content) => {
            let s3 = stack().await.unwrap().servers().store.client();
            let put = s3.put_object().bucket(&installation.names.bucket).key(*key);
            put.body(content.as_bytes().to_vec().into()).send().await.unwrap();
        }
    }
    check_all(&environment, *said, *run, *status).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_run_and_status_name_cause_and_remedy_of_every_broken_set_up() {
    // A few at a time: each is a process that asks every server.
    stream::iter(&SET_UPS).for_each_concurrent(4, examine).await;
    let environment = TestInstallation::new().await.unwrap().environment().await.unwrap();
    for (variables, said, run, status) in BESIDE {
        let mut environment = environment.clone();
        set(&mut environment, variables);
        check_all(&environment, said, run, status).await;
    }
}
