//! A fault at each step of an attempt, then another attempt: the request is `ready` with exactly one object, and nobody
//! is blamed.
//!
//! What a database answers is lost at each place where it answers, one after the other, so no step is left out; the
//! store fails at each of its calls, in each way.

use std::time::Duration;

use export_activities::{context::ExportSteps, requests, store::Store};
use export_stack::{
    instruments::{
        faulty_store::Fault,
        proxy::{Mode, Proxy},
    },
    servers::postgres::Role,
    wait,
};
use futures::StreamExt as _;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::support::{
    installation_of::{self as given, Given, attempt, serve},
    servers::proxied,
};

/// More answers than one attempt gets from any server: a test that never ends fails instead.
const MOST_ANSWERS: usize = 80;
const SOON: Duration = Duration::from_secs(30);

async fn given_request(given: &Given) -> Uuid {
    given::request(&given.owner, given::user(&given.owner).await).await
}

async fn status_and_attempts(given: &Given, request: Uuid) -> (String, i32) {
    sqlx::query_as("select status, attempts from public.data_export_requests where id = $1")
        .bind(request)
        .fetch_one(&given.owner)
        .await
        .unwrap()
}

/// Serves the request again as Temporal would, and expects it to be ready.
async fn serve_again(given: &Given, steps: &ExportSteps, request: Uuid, what: &str) {
    if let Err(unfinished) = serve(steps, &attempt(request, 2)).await {
        panic!("{what}: the second attempt ended as {unfinished:?}");
    }
    assert_eq!(status_and_attempts(given, request).await, ("ready".to_owned(), 0), "{what}");
}

/// The connection of an attempt that goes through a proxy.
#[derive(Clone, Copy, Debug)]
enum Before {
    State,
    Source,
}

/// Returns steps that reach one server through a proxy.
async fn steps_through_proxy(given: &Given, before: Before) -> (Proxy, ExportSteps) {
    let mut steps = given.steps.clone();
    let proxy = match before {
        Before::State => {
            let (proxy, url) = proxied(given.database.url(Role::State).await.unwrap().expose_secret()).await;
            steps.state = requests::pool(url.parse().unwrap(), 1, SOON);
            proxy
        }
        Before::Source => {
            let (proxy, url) = proxied(given.database.url(Role::Read).await.unwrap().expose_secret()).await;
            steps.source = given::source(&url.into(), 1);
            proxy
        }
    };
    (proxy, steps)
}

/// Loses the `nth` answer of one server, and after that lets everything through, or nothing until the attempt has
/// ended. Returns whether there was such an answer.
async fn lose_answer(given: &Given, before: Before, nth: usize, then: Mode) -> bool {
    let what = format!("answer {nth} of {before:?} lost, then {then:?}");
    let (proxy, steps) = steps_through_proxy(given, before).await;
    let request = given_request(given).await;
    proxy.set(Mode::DropAnswer(nth));
    let mut first = std::pin::pin!(async { serve(&steps, &attempt(request, 1)).await });
    let dropped = wait::until("the answer to be lost", SOON, || async {
        Ok((proxy.dropped_answers() > 0).then_some(()))
    });
    let ended = tokio::select! {
        ended = &mut first => ended,
        dropped = dropped => {
            dropped.unwrap();
            proxy.set(then);
            first.await
        }
    };
    let lost = proxy.dropped_answers() > 0;
    proxy.set(Mode::Pass);
    if !lost {
        assert!(ended.is_ok(), "{what}: {ended:?}");
    }
    serve_again(given, &given.steps, request, &what).await;
    lost
}

/// Loses each answer of one server, one attempt each. Returns the number of answers.
async fn lose_each_answer(given: &Given, before: Before) -> usize {
    let mut lost = 0;
    for then in [Mode::Pass, Mode::Cut] {
        let mut answers = futures::stream::iter(1..MOST_ANSWERS)
            .map(|nth| lose_answer(given, before, nth, then))
            .buffered(4);
        let mut ended = false;
        while let Some(was_lost) = answers.next().await {
            if !was_lost {
                ended = true;
                break;
            }
            lost += 1;
        }
        assert!(ended, "an attempt got more than {MOST_ANSWERS} answers of {before:?}");
    }
    lost
}

/// Serves what is still pending because the test stopped to look, and returns how many are ready.
async fn finish(given: &Given) -> usize {
    let pending: Vec<Uuid> =
        sqlx::query_scalar("select id from public.data_export_requests where status = 'pending'")
            .fetch_all(&given.owner)
            .await
            .unwrap();
    for request in pending {
        serve_again(given, &given.steps, request, "after the test").await;
    }
    // A store that was cut off keeps what the attempt could not take back.
    let options = export_activities::passes::sweep::SweepOptions {
        min_age: Duration::ZERO,
        dry_run: false,
        force: true,
    };
    let pulse = export_activities::pulse::Pulse::default();
    export_activities::passes::sweep::sweep(&given.steps.state, &given.steps.store, &options, &pulse)
        .await
        .unwrap();
    let ready: i64 =
        sqlx::query_scalar("select count(*) from public.data_export_requests where status = 'ready'")
            .fetch_one(&given.owner)
            .await
            .unwrap();
    usize::try_from(ready).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_state_database_lost_anywhere_even_to_commit_loses_nothing() {
    let given = given::installation().await;
    let lost = lose_each_answer(&given, Before::State).await;
    assert!(lost > 16, "{lost} lost answers are too few to be all");
    let ready = finish(&given).await;
    given.assert_sound(ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_source_lost_anywhere_loses_nothing() {
    let given = given::installation().await;
    let lost = lose_each_answer(&given, Before::Source).await;
    assert!(lost > 16, "{lost} lost answers are too few to be all");
    let ready = finish(&given).await;
    given.assert_sound(ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lost_answer_to_commit_is_read_back_by_the_same_attempt() {
    let given = given::installation().await;
    let (proxy, steps) = steps_through_proxy(&given, Before::State).await;
    let request = given_request(&given).await;
    proxy.set(Mode::DropCommitAnswer);
    let outcome = serve(&steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, export_workflows::contract::Outcome::Fulfilled { .. }), "{outcome:?}");
    assert_eq!(proxy.dropped_answers(), 1);
    given.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_store_is_the_systems_and_the_next_attempt_fulfils() {
    let calls: [(&'static str, u64); 5] = [
        ("PutObject", u64::MAX),
        ("HeadObject", u64::MAX),
        ("CreateMultipartUpload", 0),
        ("UploadPart", 0),
        ("CompleteMultipartUpload", 0),
    ];
    let wrong = || Fault::Header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=".to_owned());
    let (mut given, faulty, _folder) = given::installation_on_faulty_store().await;
    let mut ready = 0;
    for (operation, put_limit) in calls {
        given.store.put_limit = put_limit;
        given.steps.store = Store::connect(&given.store).await.unwrap();
        let mut faults =
            vec![Fault::InternalError, Fault::SlowDown, Fault::Refuse, Fault::LoseAnswer, Fault::Hang];
        if operation == "HeadObject" {
            faults.push(wrong());
        }
        for fault in faults {
            let what = format!("{operation} met {fault:?}");
            let request = given_request(&given).await;
            // Once for the call, and for the look at the object that may follow it.
            faulty.fail_all(operation, fault);
            let calls = faulty.calls(operation);
            let _ = serve(&given.steps, &attempt(request, 1)).await;
            assert!(faulty.calls(operation) > calls, "{what}: it was never called");
            faulty.heal();
            serve_again(&given, &given.steps, request, &what).await;
            ready += 1;
        }
    }
    assert_eq!(finish(&given).await, ready);
    given.assert_sound(ready).await;
    assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_is_the_systems_fault_and_the_next_attempt_fulfils() {
    let mut given = given::installation().await;
    let whole = given.steps.spool.clone();
    // Another export holds all of the quota but a little.
    given.steps.spool =
        export_activities::spool::Spool::new(&given.spool.path().join("nowhere"), 1 << 20).unwrap();
    std::fs::remove_dir(given.spool.path().join("nowhere")).unwrap();
    // The worker would create a directory again.
    std::fs::write(given.spool.path().join("nowhere"), "").unwrap();
    let request = given_request(&given).await;
    let ended = serve(&given.steps, &attempt(request, 1)).await;
    assert!(matches!(ended, Err(export_activities::fulfil::attempt::Unfinished::Retry(_))), "{ended:?}");
    assert_eq!(status_and_attempts(&given, request).await, ("pending".to_owned(), 0));
    serve_again(&given, &ExportSteps { spool: whole, ..given.steps.clone() }, request, "after").await;
    given.assert_sound(1).await;
}
