//! The production binary as an operator meets it: exit codes, sentences, and a doctor that names cause and remedy.

use std::{collections::BTreeMap, time::Duration};

use export_activities::{
    database::pool::Pool,
    requests::{operate, state::Status},
    scope::Scope,
    serialise::formats::Formats,
};
use export_stack::{
    servers::{postgres::Role, worker},
    shared::{TestInstallation, stack},
    supervisor::{Process, protocol::Signal},
    wait,
};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use uuid::Uuid;

/// Long enough for a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(90);

type Environment = BTreeMap<String, String>;

async fn installation() -> (TestInstallation, Environment) {
    let installation = TestInstallation::with_namespace().await.unwrap();
    let mut environment = installation.environment().await.unwrap();
    let spool = stack().await.unwrap().folder().join("spool").join(&installation.names.bucket);
    environment.insert("EXPORT_SPOOL_DIR".to_owned(), spool.display().to_string());
    (installation, environment)
}

fn with(environment: &Environment, pairs: &[(&str, &str)]) -> Environment {
    let mut environment = environment.clone();
    environment.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    environment
}

async fn refused(environment: &Environment, arguments: &[&str]) -> String {
    let run = wait::within("a command", BOUND, worker::command(environment, arguments)).await;
    run.expect("it refuses instead of waiting").unwrap_err().to_string()
}

/// The lines of the doctor, whether it is content or not.
async fn doctor(environment: &Environment, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<_> = ["--output", "json", "doctor"].iter().chain(arguments).copied().collect();
    let output = worker::output(environment, &arguments).await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("the doctor printed no JSON ({error}): {}", String::from_utf8_lossy(&output.stderr))
    })
}

fn state<'a>(lines: &'a [Value], check: &str) -> (&'a str, &'a str, &'a str) {
    let line = lines
        .iter()
        .find(|line| line["check"] == check)
        .unwrap_or_else(|| panic!("no `{check}`: {lines:#?}"));
    (
        line["state"].as_str().unwrap(),
        line["found"].as_str().unwrap(),
        line["remedy"].as_str().unwrap_or_default(),
    )
}

fn state_of(lines: &[Value], check: &str) -> (String, String, String) {
    let (is, found, remedy) = state(lines, check);
    (is.to_owned(), found.to_owned(), remedy.to_owned())
}

async fn says(process: &Process, sentence: &str) {
    let said = wait::until(sentence, BOUND, || async {
        process.check_alive()?;
        Ok(process.output().contains(sentence).then_some(()))
    });
    if let Err(error) = said.await {
        panic!("{error:#}; {}", process.last_words());
    }
}

async fn state_pool(installation: &TestInstallation) -> Pool {
    installation.database.state().await.unwrap()
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_2_and_names_every_mistake() {
    let (_installation, environment) = installation().await;
    let wrong =
        with(&environment, &[("EXPORT_SLOTS", "many"), ("EXPORT_LEASE", "60"), ("EXPORT_BUCKET", "s3://x")]);
    let error = refused(&wrong, &["run"]).await;
    for part in
        ["exit status: 2", "EXPORT_SLOTS is `many`", "EXPORT_LEASE is `60`", "EXPORT_BUCKET is `s3://x`"]
    {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    let error = refused(&Environment::new(), &["request", "list"]).await;
    assert!(error.contains("exit status: 2") && error.contains("EXPORT_DATABASE_URL is not set"), "{error}");
    let missing =
        with(&environment, &[("EXPORT_SOURCE_URL", ""), ("EXPORT_NOTICE_FILE", "/nowhere/notice.txt")]);
    let error = refused(&missing, &["run"]).await;
    assert!(error.contains("EXPORT_SOURCE_URL") && error.contains("EXPORT_NOTICE_FILE"), "{error}");
}

#[tokio::test]
async fn temporary_signing_credentials_refuse_to_start_and_say_how_to_mend_it() {
    let (_installation, environment) = installation().await;
    let temporary = with(&environment, &[("AWS_SESSION_TOKEN", "a-token-that-ends")]);
    let error = refused(&temporary, &["run"]).await;
    assert!(error.contains("temporary") && error.contains("EXPORT_SIGNING_ACCESS_KEY_ID"), "{error}");
    assert!(!error.contains("a-token-that-ends"), "{error}");
    let lines = doctor(&temporary, &[]).await;
    let (state, _, remedy) = state(&lines, "signing credentials");
    assert!(state == "failed" && remedy.contains("EXPORT_SIGNING_SECRET_ACCESS_KEY"), "{state}: {remedy}");
}

#[tokio::test]
async fn the_worker_waits_before_a_bucket_of_another_installation_until_it_is_adopted() {
    let (installation, environment) = installation().await;
    let store = &stack().await.unwrap().servers().store;
    let mark = Uuid::new_v4().to_string().into_bytes();
    let put = store.client().put_object().bucket(&installation.names.bucket).key("exports/.installation");
    put.body(mark.into()).send().await.unwrap();

    let name = format!("run-{}", installation.names.bucket);
    let process =
        stack().await.unwrap().start_worker(&name, &["run"], environment.clone()).unwrap().kill_on_drop();
    says(&process, "belongs to installation").await;
    assert!(!process.output().contains("Polling task queue"));

    let lines = doctor(&environment, &["--adopt-bucket"]).await;
    assert_eq!(state(&lines, "installation").0, "ok", "{lines:#?}");
    says(&process, "The store answers again").await;
    says(&process, "Polling task queue").await;
    assert_eq!(process.output().matches("belongs to installation").count(), 2, "once, in sentence and field");
    let ending = process.stop(Signal::Terminate).await.unwrap();
    assert!(ending.is_success(), "{ending}; {}", process.last_words());
}

#[tokio::test]
async fn the_doctor_finds_a_fresh_installation_in_order_but_for_worker_and_schedules() {
    let (_installation, environment) = installation().await;
    let lines = doctor(&environment, &[]).await;
    for check in [
        "database",
        "migrations",
        "rights of export_state",
        "rights of export_portal",
        "source database",
        "rights of export_read",
        "catalogue",
        "signing credentials",
        "installation",
        "store",
        "clocks",
        "encryption",
        "Temporal",
        "spool",
    ] {
        assert_eq!(state(&lines, check).0, "ok", "{check}: {lines:#?}");
    }
    assert_eq!(state(&lines, "worker").0, "warning");
    assert_eq!(state(&lines, "schedules").0, "failed");
    let (found, cause, _) = state(&lines, "search attributes");
    assert_eq!((found, cause), ("warning", "the server does not know ExportNight and ExportFailed"));
    worker::command(&environment, &["schedule", "apply"]).await.unwrap();
    let lines = doctor(&environment, &[]).await;
    for check in ["schedules", "search attributes"] {
        assert_eq!(state(&lines, check).0, "ok", "{lines:#?}");
    }
}

#[tokio::test]
async fn the_doctor_is_red_where_a_role_has_more_or_less_than_its_rights() {
    let (installation, environment) = installation().await;
    let owner = installation.database.owner().await.unwrap();
    let (read, state_role) = ("rights of export_read", "rights of export_state");
    let portal = "rights of export_portal";
    for (change, undo, check, part) in [
        (
            "grant select (password_hash) on public.users to export_read",
            "revoke select (password_hash) on public.users from export_read",
            read,
            "password_hash",
        ),
        (
            "grant select (download_url) on public.data_export_requests to export_read",
            "revoke select (download_url) on public.data_export_requests from export_read",
            read,
            "download_url",
        ),
        (
            "grant update on public.projects to export_read",
            "revoke update on public.projects from export_read",
            read,
            "it may write public.projects",
        ),
        (
            "revoke select on public.releases from export_read",
            "grant select on public.releases to export_read",
            read,
            "it may not read public.releases.",
        ),
        (
            "revoke update on public.data_export_requests from export_state",
            "grant update on public.data_export_requests to export_state",
            state_role,
            "UPDATE on public.data_export_requests",
        ),
        (
            "grant select on public.users to export_state",
            "revoke select on public.users from export_state",
            state_role,
            "public.users",
        ),
        (
            "grant select (email) on public.users to export_portal",
            "revoke select (email) on public.users from export_portal",
            portal,
            "it may use public.users",
        ),
        (
            "grant update (status) on public.data_export_requests to export_portal",
            "revoke update (status) on public.data_export_requests from export_portal",
            portal,
            "it may use public.data_export_requests",
        ),
        (
            "revoke select on public.data_export_portal from export_portal",
            "grant select on public.data_export_portal to export_portal",
            portal,
            "SELECT on public.data_export_portal",
        ),
        (
            "revoke execute on function public.data_export_withdraw(uuid, text, text, text) from export_portal",
            "grant execute on function public.data_export_withdraw(uuid, text, text, text) to export_portal",
            portal,
            "data_export_withdraw()",
        ),
    ] {
        sqlx::query(change).execute(&owner).await.unwrap();
        let lines = doctor(&environment, &[]).await;
        let (is, found, remedy) = state(&lines, check);
        assert!(is == "failed" && found.contains(part) && !remedy.is_empty(), "{change}: {is} {found}");
        sqlx::query(undo).execute(&owner).await.unwrap();
    }
}

#[tokio::test]
async fn the_doctor_names_cause_and_remedy_of_what_does_not_answer() {
    let (_installation, environment) = installation().await;
    let nowhere = with(
        &environment,
        &[
            ("EXPORT_DATABASE_URL", "postgres://export_state:wrong@127.0.0.1:1/none"),
            ("EXPORT_ACQUIRE_TIMEOUT", "1s"),
            ("EXPORT_S3_ENDPOINT", "http://127.0.0.1:1"),
            ("EXPORT_STORE_OPERATION_TIMEOUT", "2s"),
            ("TEMPORAL_ADDRESS", "127.0.0.1:1"),
        ],
    );
    let lines = doctor(&nowhere, &[]).await;
    for (check, variable) in [("database", "EXPORT_DATABASE_URL"), ("Temporal", "TEMPORAL_ADDRESS")] {
        let (state, _, remedy) = state(&lines, check);
        assert!(state == "failed" && remedy.contains(variable), "{check}: {lines:#?}");
    }
    for check in ["migrations", "rights of export_state", "installation", "store", "clocks", "worker"] {
        assert_eq!(state(&lines, check).0, "skipped", "{check}: {lines:#?}");
    }
    let lines = doctor(&with(&environment, &[("EXPORT_BUCKET", "there-is-none")]), &[]).await;
    let (state, found, remedy) = state(&lines, "installation");
    assert!(
        state == "failed" && found.contains("no such bucket") && remedy.contains("EXPORT_BUCKET"),
        "{lines:#?}"
    );
    assert!(!format!("{lines:?}").contains("wrong"), "a password was shown");
}

#[tokio::test]
async fn a_request_is_made_listed_shown_and_revoked_from_the_command_line() {
    let (installation, environment) = installation().await;
    let user = Uuid::new_v4().to_string();
    let id = worker::command(&environment, &["request", "create", "--user", &user]).await.unwrap();
    let id = id.trim();
    let listed =
        worker::command(&environment, &["request", "list", "--status", "pending", "--output", "json"]).await;
    let listed: Value = serde_json::from_str(&listed.unwrap()).unwrap();
    assert_eq!((listed[0]["id"].as_str(), listed[0]["user_id"].as_str()), (Some(id), Some(user.as_str())));
    worker::command(&environment, &["request", "revoke", id, "--reason", "legal"]).await.unwrap();
    let error = refused(&environment, &["request", "revoke", id, "--reason", "legal"]).await;
    assert!(error.contains("exit status: 1"), "{error}");
    let repeated = worker::command(&environment, &["request", "retry", id]).await.unwrap();
    let pending = operate::list(&state_pool(&installation).await, Some(Status::Pending), 10).await.unwrap();
    assert_eq!(pending[0].id.to_string(), repeated.trim());
    let unknown = refused(&environment, &["request", "show", &Uuid::new_v4().to_string()]).await;
    assert!(unknown.contains("exit status: 1"), "{unknown}");
}

#[tokio::test]
async fn a_replica_is_examined_and_one_of_another_database_is_refused() {
    let (_installation, environment) = installation().await;
    assert!(doctor(&environment, &[]).await.iter().all(|line| line["check"] != "replica"));

    let (other, _) = installation().await;
    let url = other.database.url(Role::Read).await.unwrap();
    let wrong = with(&environment, &[("EXPORT_REPLICA_URL", url.expose_secret())]);
    let lines = doctor(&wrong, &[]).await;
    let (verdict, found, remedy) = state(&lines, "replica");
    assert!(verdict == "failed" && found.contains("is no replica of EXPORT_SOURCE_URL"), "{found}: {remedy}");
    let error = refused(&wrong, &["run"]).await;
    assert!(error.contains("is no replica of EXPORT_SOURCE_URL"), "{error}");

    // Away it may come back, and meanwhile the source is read.
    let away = with(&environment, &[("EXPORT_REPLICA_URL", "postgres://export_read:x@127.0.0.1:1/none")]);
    let lines = doctor(&away, &[]).await;
    let (verdict, _, remedy) = state(&lines, "replica");
    assert!(verdict == "warning" && remedy.contains("EXPORT_REPLICA_URL"), "{verdict}: {remedy}");
}

/// A server that accepts a connection and then stays silent.
async fn silent() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn a_command_ends_at_sigint_and_sigterm_by_itself() {
    // Without a handler the kernel would end it with the signal, and in a container, as process 1, ignore the signal.
    for (signal, code) in [(Signal::Interrupt, 130), (Signal::Terminate, 143)] {
        let (listener, address) = silent().await;
        let url = format!("postgres://export_state:x@{address}/p?sslmode=disable");
        let environment = Environment::from([("EXPORT_DATABASE_URL".to_owned(), url)]);
        let name = format!("signal-{}", Uuid::new_v4().simple());
        let stack = stack().await.unwrap();
        let process = stack.start_worker(&name, &["request", "list"], environment).unwrap().kill_on_drop();
        let waits = tokio::time::timeout(BOUND, listener.accept()).await.unwrap().unwrap();
        let ending = process.stop(signal).await.unwrap();
        assert_eq!(ending.code, Some(code), "{ending}");
        drop(waits);
    }
}

#[tokio::test]
async fn a_public_endpoint_that_is_reached_from_elsewhere_alone_is_a_warning() {
    let (_installation, environment) = installation().await;
    let elsewhere = with(&environment, &[("EXPORT_PUBLIC_ENDPOINT", "http://127.0.0.1:1")]);
    let lines = doctor(&elsewhere, &[]).await;
    assert_eq!(state(&lines, "store").0, "ok", "{lines:#?}");
    let (is, found, remedy) = state(&lines, "public endpoint");
    assert_eq!(is, "warning");
    assert!(found.contains("from here") && found.contains("http://127.0.0.1:1"), "{found}");
    assert!(remedy.contains("in a browser of a user"), "{remedy}");

    // What answers there and is not the store would break every link.
    let temporal = stack().await.unwrap().servers().temporal.web_ui();
    let wrong = with(&environment, &[("EXPORT_PUBLIC_ENDPOINT", &temporal)]);
    let (is, found, remedy) = state_of(&doctor(&wrong, &[]).await, "store");
    assert!(is == "failed" && remedy.contains("EXPORT_PUBLIC_ENDPOINT"), "{is}: {found}: {remedy}");

    // A wrong key is not the address's fault, with a public endpoint of its own or without.
    for public in ["", "http://127.0.0.1:1"] {
        let key = [
            ("EXPORT_SIGNING_ACCESS_KEY_ID", environment["AWS_ACCESS_KEY_ID"].as_str()),
            ("EXPORT_SIGNING_SECRET_ACCESS_KEY", "wrong"),
            ("EXPORT_PUBLIC_ENDPOINT", public),
        ];
        let (is, found, remedy) = state_of(&doctor(&with(&environment, &key), &[]).await, "store");
        assert!(
            is == "failed"
                && found.contains("HTTP 403")
                && remedy.contains("EXPORT_SIGNING_SECRET_ACCESS_KEY"),
            "{is}: {found}: {remedy}"
        );
    }
}

#[tokio::test]
async fn the_doctor_leaves_nothing_in_the_store() {
    let (installation, environment) = installation().await;
    let lines = doctor(&environment, &[]).await;
    assert_eq!(state(&lines, "store").0, "ok", "{lines:#?}");
    let store = stack().await.unwrap().servers().store.client();
    let objects = store.list_objects_v2().bucket(&installation.names.bucket).send().await.unwrap();
    let keys: Vec<_> = objects.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, Vec::<&str>::new());
    let uploads = store.list_multipart_uploads().bucket(&installation.names.bucket).send().await.unwrap();
    assert_eq!(uploads.uploads().len(), 0);
}

#[tokio::test]
async fn the_owner_gives_the_rights_whole_or_not_at_all() {
    let (installation, environment) = installation().await;
    let owner = installation.database.url(Role::Owner).await.unwrap();
    let environment = with(&environment, &[("EXPORT_OWNER_URL", owner.expose_secret())]);
    let pool = installation.database.owner().await.unwrap();
    let change = |sql: &'static str| sqlx::raw_sql(sql).execute(&pool);
    let may = async |column: &str| {
        let sql = "select has_column_privilege('export_read', 'public.users', $1, 'SELECT')";
        sqlx::query_scalar::<_, bool>(sql).bind(column).fetch_one(&pool).await.unwrap()
    };
    change("grant select (password_hash) on users to export_read; revoke select (email) on users from export_read")
        .await
        .unwrap();
    worker::command(&environment, &["grants", "--apply"]).await.unwrap();
    assert!(may("email").await && !may("password_hash").await);

    // The last relation of the catalogue is gone: what came before it must not stay taken away.
    change("grant select (password_hash) on users to export_read; drop table releases").await.unwrap();
    let error = refused(&environment, &["grants", "--apply"]).await;
    assert!(error.contains("export-worker catalogue check"), "{error}");
    assert!(may("email").await && may("password_hash").await, "nothing was changed");

    let nowhere = with(&environment, &[("EXPORT_OWNER_URL", "postgres://o:secret@127.0.0.1:1/p")]);
    for command in [&["migrate"][..], &["grants", "--apply"]] {
        let error = refused(&nowhere, command).await;
        assert!(error.contains("EXPORT_OWNER_URL") && !error.contains("EXPORT_SOURCE_URL"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_part_is_asked_for_from_the_command_line_and_what_is_not_there_is_named() {
    let (_installation, environment) = installation().await;
    let create = ["request", "create", "--user", "7"];
    let part = [
        &create[..],
        &["--entity", "releases", "--since", "2026-01-01", "--until", "2026-02-01T12:00:00+02:00"],
        &["--filter", "releases.channel=stable", "--filter", "releases.channel=a=b"],
    ];
    let id = worker::command(&environment, &part.concat()).await.unwrap();
    let shown = worker::command(&environment, &["request", "show", id.trim()]).await.unwrap();
    let part = "users, projects, releases; since 2026-01-01T00:00:00Z; until 2026-02-01T10:00:00Z; \
                releases.channel = stable or a=b";
    assert!(shown.lines().any(|line| line == format!("part          {part}")), "{shown}");
    assert!(shown.contains("formats       json, csv\n"), "{shown}");
    let id = worker::command(&environment, &[&create[..], &["--format", "xlsx"]].concat()).await.unwrap();
    let shown = worker::command(&environment, &["request", "show", id.trim()]).await.unwrap();
    assert!(shown.contains("formats       json, csv, xlsx\n"), "{shown}");
    for (arguments, expected) in [
        (
            ["--entity", "tickets"],
            "the catalogue has no such part: there is no entity `tickets`: there are users, projects, features, pipeline_runs, releases",
        ),
        (
            ["--filter", "projects.name=x"],
            "the catalogue has no such part: `projects` has no filter `name`: it has none",
        ),
        (
            ["--filter", "channel=stable"],
            "is not of the form ENTITY.COLUMN=VALUE, such as releases.channel=stable",
        ),
        (["--format", "pdf"], "there is no format `pdf`: there are json, csv, xlsx and parquet"),
        (["--since", "yesterday"], "is no time such as 2026-01-31 or 2026-01-31T12:00:00Z"),
    ] {
        let error = refused(&environment, &[&create[..], &arguments].concat()).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_erased_account_is_forgotten_and_asked_for_once_more_there_is_nothing_left() {
    let (installation, environment) = installation().await;
    let state_pool = state_pool(&installation).await;
    let user = Uuid::new_v4();
    operate::create(&state_pool, &user.into(), &Scope::default(), &Formats::default()).await.unwrap();
    let forget = ["request", "forget", "--user", &user.to_string(), "--output", "json"].map(str::to_owned);
    let forget: Vec<_> = forget.iter().map(String::as_str).collect();
    let answer = async || {
        let said = worker::command(&environment, &forget).await.unwrap();
        serde_json::from_str::<Value>(&said).unwrap()
    };
    assert_eq!(answer().await, serde_json::json!({ "revoked": 1, "forgotten": 1, "left": 0 }));
    assert_eq!(answer().await, serde_json::json!({ "revoked": 0, "forgotten": 0, "left": 0 }));
    let listed = operate::list(&state_pool, None, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|request| request.user_id.as_str()).collect::<Vec<_>>(),
        [Uuid::nil().to_string()]
    );
}
