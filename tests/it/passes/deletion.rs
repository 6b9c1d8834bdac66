//! An archive is recorded as deleted only after it is gone, and only in the bucket that holds it.

use std::collections::BTreeMap;

use export_activities::{
    failure::{Class, Failure, judge},
    passes::{
        expire::{DELETE_WITHIN, Deleted, ExpiryPass, delete_archive, expire},
        sweep::{SweepOptions, sweep},
    },
    pulse::Pulse,
    requests::{
        archives::{Archives, move_location, read_installation},
        operate::{RevokeReason, revoke},
        state::Trace,
    },
    store::{
        Store, StoreConfig,
        installation::{check_archives, open_bucket},
        object_key::{INSTALLATION_MARK, ObjectKey},
    },
};
use export_stack::{
    instruments::faulty_store::Fault,
    servers::worker,
    shared::{TestInstallation, stack},
};
use export_workflows::contract::{ExpireInput, ExpireOutput, Outcome};
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::support::{
    installation_of::{self as given, Given, attempt, serve},
    servers::{connect, keep_versions, real_store, sdk_client, versions},
};

/// Makes a request that is ready.
async fn ready(given: &Given) -> Uuid {
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let outcome = serve(&given.steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { .. }), "{outcome}");
    request
}

async fn overdue(given: &Given) {
    let sql = "update public.data_export_requests set expires_at = now() where status = 'ready'";
    sqlx::query(sql).execute(&given.owner).await.unwrap();
}

async fn link(given: &Given, request: Uuid) -> String {
    let sql = "select download_url from public.data_export_requests where id = $1";
    sqlx::query_scalar(sql).bind(request).fetch_one(&given.owner).await.unwrap()
}

async fn answers(link: &str) -> u16 {
    export_stack::servers::versitygw::http().unwrap().get(link).send().await.unwrap().status().as_u16()
}

async fn pass(given: &Given, store: &Store) -> anyhow::Result<ExpireOutput> {
    let input = ExpireInput::default();
    let pass = ExpiryPass {
        state: &given.steps.state,
        accounts: None,
        store,
        trace: &Trace::default(),
        pulse: &Pulse::default(),
        delete_within: DELETE_WITHIN,
    };
    expire(&pass, &input).await
}

fn is_wrong_bucket(error: &anyhow::Error) -> bool {
    assert_eq!(judge(error).class, Class::System, "{error:#}");
    matches!(error.downcast_ref(), Some(Failure::Installation(_)))
}

async fn bucket_beside(given: &Given) -> (StoreConfig, Store) {
    let config = real_store().await;
    let config = StoreConfig { bucket: config.bucket, ..given.store.clone() };
    let store = connect(&config).await;
    (config, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_archive_is_called_deleted_in_another_bucket() {
    let given = given::installation().await;
    let request = ready(&given).await;
    let link = link(&given, request).await;
    let (_, elsewhere) = bucket_beside(&given).await;
    revoke(&given.steps.state, request, RevokeReason::Legal).await.unwrap();

    let state = &given.steps.state;
    assert!(is_wrong_bucket(&pass(&given, &elsewhere).await.unwrap_err()));
    assert!(is_wrong_bucket(&delete_archive(state, &elsewhere, request).await.unwrap_err()));
    assert!(is_wrong_bucket(&open_bucket(state, &elsewhere).await.unwrap_err()));
    let options = SweepOptions { min_age: std::time::Duration::ZERO, dry_run: false, force: true };
    let swept = sweep(state, &elsewhere, &options, &Pulse::default()).await;
    assert!(is_wrong_bucket(&swept.unwrap_err()));
    assert_eq!(given::events(&given.owner, request).await, ["requested", "ready", "failed"]);
    assert_eq!(answers(&link).await, 200, "the archive is still there, and nothing says otherwise");

    assert_eq!(delete_archive(state, &given.steps.store, request).await.unwrap(), Deleted::Done);
    assert_eq!(answers(&link).await, 404);
    assert_eq!(
        given::events(&given.owner, request).await,
        ["requested", "ready", "failed", "object_deleted"]
    );
    assert_eq!(delete_archive(state, &given.steps.store, request).await.unwrap(), Deleted::Nothing);
    given.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_bucket_is_emptied_under_it_uploads_nothing() {
    let given = given::installation().await;
    let s3 = sdk_client(&given.store);
    s3.delete_object().bucket(&given.store.bucket).key(INSTALLATION_MARK).send().await.unwrap();
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let error = serve(&given.steps, &attempt(request, 1)).await.unwrap_err();
    assert!(format!("{error:?}").contains("installation"), "{error:?}");
    assert_eq!(given::objects(&given.store).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_a_former_bucket_expire_and_are_deleted_there() {
    let mut given = given::installation().await;
    let state = given.steps.state.clone();
    let old = ready(&given).await;
    let old_link = link(&given, old).await;
    let (config, elsewhere) = bucket_beside(&given).await;
    let former = given.steps.store.location().to_owned();

    open_bucket(&state, &elsewhere).await.unwrap_err();
    export_activities::store::installation::adopt(&elsewhere, read_installation(&state).await.unwrap().id)
        .await
        .unwrap();
    assert_eq!(move_location(&state, &former, elsewhere.location(), Archives::Stay).await.unwrap(), 1);
    assert_eq!(read_installation(&state).await.unwrap().location.as_deref(), Some(elsewhere.location()));

    // A worker that was not restarted notices it with its next request.
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let error = serve(&given.steps, &attempt(request, 1)).await.unwrap_err();
    assert!(format!("{error:?}").contains("installation"), "{error:?}");
    assert_eq!(given::objects(&given.store).await.len(), 1);

    given.steps.store = elsewhere.clone();
    assert!(matches!(serve(&given.steps, &attempt(request, 2)).await.unwrap(), Outcome::Fulfilled { .. }));
    let new_link = link(&given, request).await;
    assert_eq!((given::objects(&given.store).await.len(), given::objects(&config).await.len()), (1, 1));
    assert_eq!((answers(&old_link).await, answers(&new_link).await), (200, 200));

    // An orphan in the former bucket is swept as well, and the archives of both are left.
    let orphan = ObjectKey::new(Uuid::new_v4(), Uuid::new_v4());
    let put = sdk_client(&given.store).put_object().bucket(&given.store.bucket).key(orphan.as_str());
    put.body(vec![7].into()).send().await.unwrap();
    let options = SweepOptions { min_age: std::time::Duration::ZERO, dry_run: false, force: false };
    let swept = sweep(&state, &elsewhere, &options, &Pulse::default()).await.unwrap();
    assert_eq!((swept.swept, swept.refused), (1, false));

    overdue(&given).await;
    let done = pass(&given, &elsewhere).await.unwrap();
    assert_eq!((done.expired, done.deleted, done.deletions_left), (2, 2, 0));
    assert_eq!((answers(&old_link).await, answers(&new_link).await), (404, 404));
    assert_eq!((given::objects(&given.store).await.len(), given::objects(&config).await.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_under_a_new_address_takes_its_archives_along_and_another_is_refused() {
    let given = given::installation().await;
    let state = &given.steps.state;
    let request = ready(&given).await;
    let former = given.steps.store.location().to_owned();
    let (_, other) = bucket_beside(&given).await;
    let error = check_archives(state, &other, &former).await.unwrap_err();
    assert!(is_wrong_bucket(&error) && format!("{error}").contains("not the same bucket"), "{error}");

    let renamed = given.store.endpoint.as_deref().unwrap().replace("127.0.0.1", "localhost");
    let renamed = connect(&StoreConfig { endpoint: Some(renamed), ..given.store.clone() }).await;
    check_archives(state, &renamed, &former).await.unwrap();
    assert_eq!(move_location(state, &former, renamed.location(), Archives::Same).await.unwrap(), 1);
    revoke(state, request, RevokeReason::Mistake).await.unwrap();
    assert_eq!(delete_archive(state, &renamed, request).await.unwrap(), Deleted::Done);
    assert_eq!(given::objects(&given.store).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_versions_keeps_no_version_and_no_marker_of_a_deleted_archive() {
    let given = given::installation().await;
    keep_versions(&given.store).await;
    let (one, other) = (ready(&given).await, ready(&given).await);
    // A pass of the release before hid one of them behind a marker.
    let key: String = sqlx::query_scalar("select object_key from public.data_export_requests where id = $1")
        .bind(other)
        .fetch_one(&given.owner)
        .await
        .unwrap();
    let s3 = sdk_client(&given.store);
    s3.delete_object().bucket(&given.store.bucket).key(&key).send().await.unwrap();
    assert_eq!(versions(&given.store).await.len(), 4, "the mark, two archives, a marker");

    overdue(&given).await;
    let done = pass(&given, &given.steps.store).await.unwrap();
    assert_eq!((done.expired, done.deleted, done.deletions_left), (2, 2, 0));
    assert_eq!(versions(&given.store).await, [INSTALLATION_MARK]);
    assert_eq!(given::events(&given.owner, one).await.last().unwrap(), "object_deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_the_store_refuses_to_delete_keeps_no_other_from_its_turn() {
    let (given, faulty, _folder) = given::installation_on_faulty_store().await;
    for _ in 0..3 {
        ready(&given).await;
    }
    overdue(&given).await;
    faulty.fail("DeleteObject", 1, Fault::AccessDenied);
    let done = pass(&given, &given.steps.store).await.unwrap();
    assert_eq!((done.expired, done.deleted, done.deletions_left), (3, 2, 1));
    assert_eq!(given::objects(&given.store).await.len(), 1);
    assert_eq!(pass(&given, &given.steps.store).await.unwrap().deleted, 1);
    given.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_and_the_notification_come_also_with_plain_sql() {
    let given = given::installation().await;
    let request = ready(&given).await;
    let mut listener = PgListener::connect_with(&given.owner).await.unwrap();
    listener.listen("data_export").await.unwrap();
    let by_hand = "update public.data_export_requests
                   set status = 'failed', failure_reason = 'revoked', download_url = null where id = $1";
    sqlx::query(by_hand).bind(request).execute(&given.owner).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), format!("{request} failed"));
    assert_eq!(given::events(&given.owner, request).await, ["requested", "ready", "failed"]);
    let line: (String, Option<String>, Option<String>) = sqlx::query_as(
        "select reason, object_key, run_id from public.data_export_events where request_id = $1 and kind = 'failed'",
    )
    .bind(request)
    .fetch_one(&given.owner)
    .await
    .unwrap();
    assert_eq!((line.0.as_str(), line.1.is_some(), line.2), ("revoked", true, None));
    // The control: what a worker does is noted in the name of its run.
    let run: Option<String> = sqlx::query_scalar(
        "select run_id from public.data_export_events where request_id = $1 and kind = 'ready'",
    )
    .bind(request)
    .fetch_one(&given.owner)
    .await
    .unwrap();
    assert_eq!(run.as_deref(), Some("run"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_refuse_another_bucket_until_the_installation_is_moved() {
    let installation = TestInstallation::new().await.unwrap();
    let mut environment = installation.environment().await.unwrap();
    let (state, owner) =
        (installation.database.state().await.unwrap(), installation.database.owner().await.unwrap());
    let versitygw = &stack().await.unwrap().servers().store;
    let s3 = versitygw.client();
    let mut config = StoreConfig::new(installation.names.bucket.clone());
    config.endpoint = Some(versitygw.endpoint());
    let secret = versitygw.secret_access_key().to_owned().into();
    config.access = Some(export_activities::store::KeyPair::new(versitygw.access_key_id(), secret));
    let store = connect(&config).await;
    open_bucket(&state, &store).await.unwrap();
    let key = ObjectKey::new(Uuid::new_v4(), Uuid::new_v4());
    s3.put_object()
        .bucket(&config.bucket)
        .key(key.as_str())
        .body(b"archive".to_vec().into())
        .send()
        .await
        .unwrap();
    sqlx::query(
        "insert into public.data_export_requests
             (id, user_id, status, download_url, expires_at, object_key, archive_bytes, archive_sha256, row_counts,
              snapshot_at, fulfilled_at, pseudonym_salt)
         values ($1, $1, 'ready', 'https://x', now() + interval '1 day', $2, 7, repeat('a', 64), '{}', now(), now(), null)",
    )
    .bind(key.request_id())
    .bind(key.as_str())
    .execute(&owner)
    .await
    .unwrap();

    let other = format!("{}-other", config.bucket);
    versitygw.make_bucket(&other).await.unwrap();
    environment.insert("EXPORT_BUCKET".to_owned(), other.clone());
    let id = key.request_id().to_string();
    let said = run(&environment, &["request", "revoke", &id, "--reason", "legal"]).await;
    assert_eq!(said.0, Some(1), "{}", said.1);
    for part in ["THE LINK STILL WORKS", "export-worker bucket move", &config.bucket, &other] {
        assert!(said.1.contains(part), "no `{part}` in: {}", said.1);
    }
    let said = run(&environment, &["bucket", "move", "--same-bucket"]).await;
    assert!(said.0 == Some(1) && said.1.contains("Nothing was moved"), "{}", said.1);
    let said = run(&environment, &["bucket", "move"]).await;
    assert!(said.0 == Some(0) && said.1.contains("1 archives stay in"), "{}", said.1);
    let said = run(&environment, &["expire"]).await;
    assert!(said.0 == Some(0) && said.1.contains("archives deleted 1"), "{}", said.1);
    let left = s3.head_object().bucket(&config.bucket).key(key.as_str()).send().await;
    assert!(left.is_err(), "the archive is gone from the former bucket");
    let said = run(&environment, &["bucket", "move"]).await;
    assert!(said.0 == Some(0) && said.1.contains("already"), "{}", said.1);
}

async fn run(environment: &BTreeMap<String, String>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = worker::output(environment, arguments).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}
