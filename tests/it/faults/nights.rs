//! Nights in which something dies, stays away or is stopped, with the production binary on real servers.

use std::time::Duration;

use export_stack::{
    instruments::{
        faulty_store::Fault,
        proxy::{Mode, Proxy},
    },
    supervisor::{Process, protocol::Signal},
    wait,
};
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{FIRST_ARCHIVE, NIGHT, Nights, kill, until_said},
    servers::proxied,
};

/// A store that does not answer is given up quickly, so that a test need not wait for it.
const QUICK: [(&str, &str); 3] = [
    ("EXPORT_STORE_CONNECT_TIMEOUT", "1s"),
    ("EXPORT_STORE_ATTEMPT_TIMEOUT", "1s"),
    ("EXPORT_STORE_OPERATION_TIMEOUT", "2s"),
];

fn quick(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [QUICK.as_slice(), more].concat()
}

async fn until_claimed(nights: &Nights, request: Uuid, claims: i32) {
    wait::until(&format!("claim {claims} of the request"), NIGHT, || async {
        Ok((nights.counted(request).await.0 >= claims).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_of_a_worker_killed_in_mid_upload_is_taken_over_the_same_night() {
    let nights = Nights::on_faulty_store().await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.faulty().fail("PutObject", FIRST_ARCHIVE, Fault::Hold);
    let doomed = nights.worker(&[]).await;
    nights.begin_night().await;
    until_claimed(&nights, request, 1).await;
    nights.faulty().wait_in_flight("PutObject", 1).await.unwrap();
    kill(&doomed).await;
    let _heir = nights.worker(&[]).await;

    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    assert_eq!(nights.counted(request).await, (2, 1, 0), "one worker was lost, nobody is blamed");
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_kills_its_worker_each_time_is_given_up_and_delays_no_other() {
    let nights = Nights::on_faulty_store().await;
    let deadly = nights.request(given::user(&nights.owner).await).await;
    let settings = [("EXPORT_MAX_LOST", "2"), ("EXPORT_SLOTS", "2")];
    let mut worker = nights.worker(&settings).await;
    until_said(&worker, "Polling task queue").await;
    nights.faulty().fail_object("PutObject", &deadly.to_string(), Fault::Hold);
    nights.begin_night().await;
    for claims in 1..=2 {
        until_claimed(&nights, deadly, claims).await;
        nights.faulty().wait_in_flight("PutObject", 1).await.unwrap();
        kill(&worker).await;
        worker = nights.worker(&settings).await;
    }
    nights.faulty().heal();

    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.status(deadly).await, ("failed".to_owned(), Some("attempts_exhausted".to_owned())));
    assert_eq!(nights.counted(deadly).await, (3, 2, 0));
    // The next request is served normally.
    let other = nights.request(given::user(&nights.owner).await).await;
    nights.night().await;
    assert_eq!(nights.status(other).await, ("ready".to_owned(), None));
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_too_long_defers_and_the_second_look_fulfils() {
    let nights = Nights::on_faulty_store().await;
    let worker = nights.worker(&quick(&[("EXPORT_DEFER_AFTER", "4s")])).await;
    until_said(&worker, "Polling task queue").await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.faulty().fail_all("PutObject", Fault::InternalError);
    nights.begin_night().await;
    // The second round has started when a second run of the chain claims the request.
    wait::until("the second round", NIGHT, || async {
        let runs = nights.runs("nightly_batch").await.len();
        Ok((runs >= 2).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(nights.status(request).await.0, "pending");
    nights.faulty().heal();

    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    assert_eq!(nights.counted(request).await.2, 0, "a fault of the store is not the request's");
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_without_its_store_fails_by_its_code_after_the_passes_and_the_next_one_heals() {
    let nights = Nights::on_faulty_store().await;
    let _worker = nights.worker(&quick(&[("EXPORT_DEFER_AFTER", "1s")])).await;
    let overdue = nights.request(given::user(&nights.owner).await).await;
    nights.night().await;
    sqlx::query("update public.data_export_requests set expires_at = now() where id = $1")
        .bind(overdue)
        .execute(&nights.owner)
        .await
        .unwrap();
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.faulty().fail_all("PutObject", Fault::InternalError);

    let error = format!("{:#}", nights.try_night().await.unwrap_err());
    assert!(error.contains("store/") && error.contains("stay pending"), "{error}");
    assert_eq!(nights.status(request).await, ("pending".to_owned(), None));
    assert_eq!(nights.counted(request).await.2, 0);
    let last_error: String =
        sqlx::query_scalar("select last_error from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(&nights.owner)
            .await
            .unwrap();
    assert!(last_error.starts_with("system: store/"), "{last_error}");
    assert_eq!(nights.status(overdue).await.1.as_deref(), Some("expired"), "the passes ran all the same");

    nights.faulty().heal();
    nights.night().await;
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_whose_sweep_fails_says_all_the_same_what_it_has_served() {
    let nights = Nights::on_faulty_store().await;
    let worker = nights.worker(&quick(&[])).await;
    until_said(&worker, "Polling task queue").await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.faulty().fail_all("ListObjectsV2", Fault::InternalError);
    let error = format!("{:#}", nights.try_night().await.unwrap_err());
    // On a busy machine the store's error may come too late and count as no answer.
    assert!(error.contains("the sweep failed: the store "), "{error}");
    assert!(error.contains("(system: store/"), "{error}");
    assert!(error.contains("\"fulfilled\": 1"), "{error}");
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    nights.faulty().heal();
    nights.assert_sound(1).await;
}

/// Returns the files that a worker holds open although they are deleted: its spool.
fn spool_files(worker: &Process) -> Vec<String> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", worker.pid())).unwrap();
    descriptors
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .map(|path| path.display().to_string())
        .filter(|path| path.ends_with("(deleted)"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_night_leaves_no_spool_no_upload_and_no_claim() {
    let nights = Nights::on_faulty_store().await;
    let worker = nights.worker(&[("EXPORT_PUT_LIMIT", "0")]).await;
    until_said(&worker, "Polling task queue").await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.faulty().fail_all("UploadPart", Fault::Hold);
    nights.begin_night().await;
    nights.faulty().wait_in_flight("UploadPart", 1).await.unwrap();
    assert!(!spool_files(&worker).is_empty(), "the control: the archive lies in the spool");
    assert_eq!(nights.faulty().unfinished_uploads().len(), 1, "the control: an upload is open");

    let id = nights.runs("nightly_batch").await[0].id.clone();
    nights.try_temporal(&["workflow", "cancel", "--workflow-id", &id]).await.unwrap();
    assert_eq!(nights.ended().await, "CANCELED");
    assert_eq!(nights.status(request).await, ("pending".to_owned(), None));
    assert_eq!(nights.faulty().unfinished_uploads(), Vec::<String>::new());
    assert_eq!(spool_files(&worker), Vec::<String>::new());
    nights.assert_sound(0).await;

    nights.faulty().heal();
    nights.night().await;
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    assert_eq!(nights.counted(request).await, (2, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_hands_its_request_to_another_within_a_minute() {
    let nights = Nights::on_faulty_store().await;
    let settings = [("EXPORT_SHUTDOWN_GRACE", "1s")];
    nights.faulty().fail("PutObject", FIRST_ARCHIVE, Fault::Hold);
    let first = nights.worker(&settings).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.begin_night().await;
    until_claimed(&nights, request, 1).await;
    nights.faulty().wait_in_flight("PutObject", 1).await.unwrap();
    let ending = first.stop(Signal::Terminate).await.unwrap();
    assert!(ending.is_success(), "{ending}: {}", first.last_words());
    assert_eq!(nights.status(request).await, ("pending".to_owned(), None));

    let _second = nights.worker(&settings).await;
    wait::until("the request to be ready", Duration::from_secs(60), || async {
        Ok((nights.status(request).await.0 == "ready").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.counted(request).await, (2, 0, 0), "a drain is neither counted nor a loss");
    nights.assert_sound(1).await;
}

/// Puts a proxy before the state database, the source and Temporal, in this order.
async fn behind_proxies(nights: &mut Nights) -> [Proxy; 3] {
    let mut proxies = Vec::new();
    for name in ["EXPORT_DATABASE_URL", "EXPORT_SOURCE_URL"] {
        let (proxy, url) = proxied(&nights.environment[name]).await;
        nights.environment.insert(name.to_owned(), url);
        proxies.push(proxy);
    }
    let (proxy, url) = proxied(&format!("http://{}", nights.environment["TEMPORAL_ADDRESS"])).await;
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    nights.environment.insert("TEMPORAL_ADDRESS".to_owned(), address);
    proxies.push(proxy);
    proxies.try_into().unwrap_or_else(|_| panic!("there are three"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_servers_are_down_waits_says_so_once_each_and_then_serves() {
    let mut nights = Nights::new().await;
    let proxies = behind_proxies(&mut nights).await;
    proxies.iter().for_each(|proxy| proxy.set(Mode::Cut));
    let worker = nights.worker(&[]).await;
    let said = ["Waiting for the database", "Waiting for the source database", "Waiting for Temporal"];
    for (proxy, sentence) in proxies.iter().zip(said) {
        until_said(&worker, sentence).await;
        proxy.set(Mode::Pass);
    }
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.night().await;
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    for sentence in said {
        assert_eq!(worker.output().matches(&format!("{sentence}:")).count(), 1, "{}", worker.output());
    }
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_loses_temporal_and_both_databases_in_its_midst_ends_well_by_itself() {
    let mut nights = Nights::on_faulty_store().await;
    let proxies = behind_proxies(&mut nights).await;
    nights.faulty().fail("PutObject", FIRST_ARCHIVE, Fault::Hold);
    let worker = nights.worker(&[]).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.begin_night().await;
    until_claimed(&nights, request, 1).await;
    nights.faulty().wait_in_flight("PutObject", 1).await.unwrap();
    proxies.iter().for_each(|proxy| proxy.set(Mode::Cut));
    until_said(&worker, "Waiting for Temporal").await;
    nights.faulty().release();
    proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
    until_said(&worker, "Temporal answers again").await;

    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    assert_eq!(nights.counted(request).await.2, 0, "an outage is not the request's fault");
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_worker_at_once() {
    let nights = Nights::on_faulty_store().await;
    nights.faulty().fail("PutObject", FIRST_ARCHIVE, Fault::Hold);
    let worker = nights.worker(&[("EXPORT_SHUTDOWN_GRACE", "10m")]).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.begin_night().await;
    until_claimed(&nights, request, 1).await;
    worker.signal(Signal::Terminate).unwrap();
    until_said(&worker, "Stopping").await;
    assert!(worker.ending().unwrap().is_none(), "the control: one signal lets the attempt finish");
    worker.signal(Signal::Terminate).unwrap();
    let ending = worker.ended(Duration::from_secs(10)).await.unwrap();
    assert!(!ending.is_success() && worker.output().contains("second signal"), "{ending}");
}
