//! Each attempt passes on to the next since when attempts fail, and which of them were killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use export_activities::{
    context::ExportSteps,
    fulfil::{attempt::Unfinished, fulfil, lease::Heartbeat},
    pulse::Pulse,
    requests,
};
use export_stack::{
    instruments::{
        faulty_store::Fault,
        proxy::{Mode, Proxy},
    },
    servers::postgres::Role,
    wait,
};
use export_workflows::contract::Outcome;
use futures::FutureExt as _;
use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{
    installation_of::{self as given, Given, attempt, serve},
    night_of::{Nights, SOON, until_said},
    servers::proxied,
};

async fn given_request(given: &Given) -> Uuid {
    given::request(&given.owner, given::user(&given.owner).await).await
}

/// Returns `lost` of a request and whether a claim holds it.
async fn lost_and_held(owner: &PgPool, request: Uuid) -> (i32, bool) {
    sqlx::query_as("select lost, claim_token is not null from public.data_export_requests where id = $1")
        .bind(request)
        .fetch_one(owner)
        .await
        .unwrap()
}

async fn until_free(owner: &PgPool, request: Uuid) {
    wait::until("the release", SOON, || async { Ok((!lost_and_held(owner, request).await.1).then_some(())) })
        .await
        .unwrap();
}

/// Returns steps that reach the state database through a proxy.
async fn through_proxy(given: &Given) -> (Proxy, ExportSteps) {
    let (proxy, url) = proxied(given.database.url(Role::State).await.unwrap().expose_secret()).await;
    let mut steps = given.steps.clone();
    steps.state = requests::pool(url.parse().unwrap(), 4, Duration::from_secs(1));
    (proxy, steps)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_system_defers_by_the_time_since_the_first_failed_attempt() {
    let (mut given, faulty, _folder) = given::installation_on_faulty_store().await;
    given.steps.settings.defer_after = Duration::from_secs(60);
    let request = given_request(&given).await;
    faulty.fail_all("PutObject", Fault::InternalError);
    let mut attempt = attempt(request, 1);
    // However long it has waited for its turn, the first failure is tried again.
    let unfinished = serve(&given.steps, &attempt).await.unwrap_err();
    assert!(matches!(unfinished, Unfinished::Retry(_)) && unfinished.is_of_the_system(), "{unfinished:?}");
    for (seconds, deferred) in [(50, false), (61, true)] {
        attempt.before.failing_since = Some(Utc::now() - TimeDelta::seconds(seconds));
        let ended = serve(&given.steps, &attempt).await;
        assert_eq!(matches!(ended, Ok(Outcome::Deferred { .. })), deferred, "{seconds} s: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_attempt_ended_by_itself_is_no_lost_worker_and_a_killed_ones_is() {
    let given = given::installation().await;
    for (killed, lost) in [(vec![], 0), (vec![1], 1)] {
        let request = given_request(&given).await;
        sqlx::query(
            "update public.data_export_requests set claim_token = gen_random_uuid(), claim_owner = $2,
             claim_try = 1, lease_until = now() + interval '1 h' where id = $1",
        )
        .bind(request)
        .bind(&attempt(request, 1).owner.name)
        .execute(&given.owner)
        .await
        .unwrap();
        let mut second = attempt(request, 2);
        second.owner.killed = killed;
        serve(&given.steps, &second).await.unwrap();
        assert_eq!(lost_and_held(&given.owner, request).await, (lost, false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_cannot_be_released_is_released_when_the_database_is_back() {
    let (given, faulty, _folder) = given::installation_on_faulty_store().await;
    let (proxy, mut steps) = through_proxy(&given).await;
    steps.settings.defer_after = Duration::ZERO;
    let request = given_request(&given).await;
    faulty.fail_all("PutObject", Fault::Hold);
    let first = tokio::spawn(async move { serve(&steps, &attempt(request, 1)).await });
    faulty.wait_in_flight("PutObject", 1).await.unwrap();
    proxy.set(Mode::Cut);
    faulty.heal();
    let ended = first.await.unwrap();
    assert!(matches!(ended, Ok(Outcome::Deferred { .. })), "{ended:?}");
    assert_eq!(lost_and_held(&given.owner, request).await, (0, true), "the control: it was not released");
    proxy.set(Mode::Pass);
    until_free(&given.owner, request).await;
    // The second round of a night is another activity, and of any worker.
    let mut second = attempt(request, 1);
    second.owner.name = "the second round".to_owned();
    serve(&given.steps, &second).await.unwrap();
    assert_eq!(lost_and_held(&given.owner, request).await, (0, false));
}

/// Locks the row of a request until the answer is dropped.
async fn lock(owner: &PgPool, request: Uuid) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut lock = owner.begin().await.unwrap();
    sqlx::query("select from public.data_export_requests where id = $1 for update")
        .bind(request)
        .execute(&mut *lock)
        .await
        .unwrap();
    lock
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_waits_for_its_claim_beats_and_is_gone_soon_after_a_cancel() {
    let given = given::installation().await;
    let request = given_request(&given).await;
    let locked = lock(&given.owner, request).await;
    let (pulse, beats) = (Pulse::default(), Arc::new(AtomicUsize::new(0)));
    let (steps, stop, counted) = (given.steps.clone(), pulse.clone(), Arc::clone(&beats));
    let waiting = tokio::spawn(async move {
        let heartbeat: Heartbeat<'_> = &|_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}.boxed()
        };
        fulfil(&steps, &attempt(request, 1), &stop, heartbeat).await
    });
    wait::until("two heartbeats", SOON, || async { Ok((beats.load(Ordering::Relaxed) >= 2).then_some(())) })
        .await
        .unwrap();
    let cancelled = Instant::now();
    pulse.cancel();
    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(Unfinished::Interrupted)), "{ended:?}");
    assert!(cancelled.elapsed() < Duration::from_secs(10), "{:?}", cancelled.elapsed());
    locked.rollback().await.unwrap();
    // The abandoned call may have claimed the request anyway.
    until_free(&given.owner, request).await;
    serve(&given.steps, &attempt(request, 2)).await.unwrap();
    given.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_release_hangs_is_gone_within_ten_seconds_and_beats_meanwhile() {
    let (given, faulty, _folder) = given::installation_on_faulty_store().await;
    let request = given_request(&given).await;
    faulty.fail_all("PutObject", Fault::Hold);
    let (pulse, beats) = (Pulse::default(), Arc::new(AtomicUsize::new(0)));
    let (mut steps, stop, counted) = (given.steps.clone(), pulse.clone(), Arc::clone(&beats));
    steps.settings.stall_timeout = Duration::from_secs(3600);
    let working = tokio::spawn(async move {
        let heartbeat: Heartbeat<'_> = &|_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}.boxed()
        };
        fulfil(&steps, &attempt(request, 1), &stop, heartbeat).await
    });
    faulty.wait_in_flight("PutObject", 1).await.unwrap();
    let locked = lock(&given.owner, request).await;
    let before = beats.load(Ordering::Relaxed);
    let cancelled = Instant::now();
    pulse.cancel();
    let ended = working.await.unwrap();
    assert!(cancelled.elapsed() < Duration::from_secs(10), "{:?}", cancelled.elapsed());
    assert!(ended.is_err(), "{ended:?}");
    assert!(beats.load(Ordering::Relaxed) > before, "no heartbeat during the release");
    locked.rollback().await.unwrap();
    faulty.heal();
    until_free(&given.owner, request).await;
    serve(&given.steps, &attempt(request, 2)).await.unwrap();
    assert_eq!(lost_and_held(&given.owner, request).await, (0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_hangs_delays_no_heartbeat_and_ends_no_attempt() {
    let (given, faulty, _folder) = given::installation_on_faulty_store().await;
    let request = given_request(&given).await;
    faulty.fail_all("PutObject", Fault::Hold);
    let beats = Arc::new(AtomicUsize::new(0));
    let (mut steps, counted) = (given.steps.clone(), Arc::clone(&beats));
    steps.settings.stall_timeout = Duration::from_secs(3600);
    // An upload that is held may last as long as the test needs.
    let mut store = given.store.clone();
    (store.attempt_timeout, store.operation_timeout) = (Duration::from_secs(600), Duration::from_secs(600));
    steps.store = crate::support::servers::connect(&store).await;
    let working = tokio::spawn(async move {
        let heartbeat: Heartbeat<'_> = &|_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}.boxed()
        };
        fulfil(&steps, &attempt(request, 1), &Pulse::default(), heartbeat).await
    });
    faulty.wait_in_flight("PutObject", 1).await.unwrap();
    let locked = lock(&given.owner, request).await;
    let database = given.database.pool(Role::Superuser).await.unwrap();
    wait::until("a renewal that waits for the lock", SOON, || async {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and usename = 'export_state' and wait_event_type = 'Lock'",
        )
        .fetch_one(&database)
        .await?;
        Ok((waiting > 0).then_some(()))
    })
    .await
    .unwrap();
    let before = beats.load(Ordering::Relaxed);
    wait::until("two heartbeats", SOON, || async {
        Ok((beats.load(Ordering::Relaxed) >= before + 2).then_some(()))
    })
    .await
    .unwrap();
    assert!(!working.is_finished(), "the control: it waits for the store");
    locked.rollback().await.unwrap();
    faulty.release();
    let ended = working.await.unwrap();
    assert!(matches!(ended, Ok(Outcome::Fulfilled { .. })), "{ended:?}");
    assert_eq!(lost_and_held(&given.owner, request).await, (0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_fault_after_a_long_queue_is_tried_again_and_not_deferred() {
    let nights = Nights::on_faulty_store().await;
    let worker = nights.worker(&[("EXPORT_SLOTS", "1"), ("EXPORT_DEFER_AFTER", "6s")]).await;
    until_said(&worker, "Polling task queue").await;
    nights.requests(2).await;
    nights.faulty().fail("PutObject", 1, Fault::Hold);
    nights.faulty().fail("PutObject", 2, Fault::InternalError);
    nights.begin_night().await;
    nights.until_uploading().await;
    // The second request waits for the only slot for longer than it may fail.
    let waited = Instant::now();
    wait::until("a long queue", SOON, || async {
        Ok((waited.elapsed() > Duration::from_secs(8)).then_some(()))
    })
    .await
    .unwrap();
    nights.faulty().release();
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.ready().await, 2);
    assert!(!worker.output().contains("deferred"), "{}", worker.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_under_an_attempt_is_no_lost_worker() {
    let mut nights = Nights::on_faulty_store().await;
    let (proxy, url) = proxied(&nights.environment["EXPORT_DATABASE_URL"]).await;
    nights.environment.insert("EXPORT_DATABASE_URL".to_owned(), url);
    let worker = nights.worker(&[("EXPORT_ACQUIRE_TIMEOUT", "1s")]).await;
    until_said(&worker, "Polling task queue").await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.faulty().fail("PutObject", 1, Fault::Hold);
    nights.begin_night().await;
    nights.until_uploading().await;
    proxy.set(Mode::Cut);
    nights.faulty().release();
    until_said(&worker, "could not be released").await;
    // The claim is still there when the next attempt asks for it.
    proxy.set(Mode::Pass);
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    let (_, lost, attempts) = nights.counted(request).await;
    assert_eq!((lost, attempts), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_inside_an_export_is_tried_again_and_carries_its_code() {
    let nights = Nights::on_faulty_store().await;
    let settings = [("EXPORT_SLOTS", "1"), ("EXPORT_DEFER_AFTER", "1s")];
    let worker = nights.worker(&settings).await;
    until_said(&worker, "Polling task queue").await;
    nights.requests(2).await;
    nights.faulty().fail("PutObject", 1, Fault::Hold);
    nights.faulty().fail("PutObject", 2, Fault::InternalError);
    nights.begin_night().await;
    nights.until_uploading().await;
    // The first page is listed; now a column goes.
    sqlx::raw_sql("alter table public.users rename column bio to biography")
        .execute(&nights.owner)
        .await
        .unwrap();
    nights.faulty().release();
    let code = wait::until("the second round", SOON, || async {
        let last: Option<String> = sqlx::query_scalar(
            "select last_error from public.data_export_requests where status = 'pending' and claims >= 2",
        )
        .fetch_optional(&nights.owner)
        .await?
        .flatten();
        Ok(last)
    })
    .await
    .unwrap();
    assert!(code.starts_with("system: catalogue_drift"), "{code}");
    sqlx::raw_sql("alter table public.users rename column biography to bio")
        .execute(&nights.owner)
        .await
        .unwrap();
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.ready().await, 2);
}
