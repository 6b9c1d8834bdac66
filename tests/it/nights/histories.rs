//! Runs of every kind, made now, replay under today's code; `RECORD_HISTORIES=<prefix>` adds their histories to
//! `tests/histories`, where they represent runs that are under way when a new worker is rolled out.

use std::{collections::BTreeMap, fs, io::Write as _};

use export_stack::{
    instruments::faulty_store::Fault,
    platform::{self, SeedOptions},
    servers::worker,
    shared::stack,
    wait,
};
use export_worker::temporal::history;
use export_workflows::contract::EXPORT_AT_ONCE;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::history::v1::{History, history_event::Attributes};
use uuid::Uuid;

use crate::{
    nights::replay,
    support::{
        installation_of as given,
        night_of::{FIRST_ARCHIVE, Nights, Run, SOON, until_said},
    },
};

/// A recording larger than this is stored compressed.
const PLAIN: usize = 200_000;

/// Returns the histories of all runs of a workflow, oldest first.
async fn histories(nights: &Nights, client: &Client, workflow_type: &str) -> Vec<History> {
    fetch(client, nights.runs(workflow_type).await.iter().rev()).await
}

/// Returns the histories of the runs under one workflow id, oldest first.
async fn chain(nights: &Nights, client: &Client, workflow_id: &str) -> Vec<History> {
    let runs = nights.runs("nightly_batch").await;
    fetch(client, runs.iter().rev().filter(|run| run.id == workflow_id)).await
}

async fn fetch(client: &Client, runs: impl Iterator<Item = &Run>) -> Vec<History> {
    let mut all = Vec::new();
    for run in runs {
        all.push(history::fetch(client, &run.id, Some(&run.run_id)).await.unwrap());
    }
    all
}

/// Replays the histories, and records them when that is asked for.
async fn keep(kind: &str, histories: &[History]) {
    let replayer = history::replayer(Default::default()).unwrap();
    for (number, history) in histories.iter().enumerate() {
        let replayed = history::replay(&replayer, history.clone()).await.unwrap();
        assert_eq!(replayed.failure, None, "{kind}-{number}");
        let Some(prefix) = std::env::var_os("RECORD_HISTORIES") else { continue };
        let mut json = serde_json::to_value(history).unwrap();
        anonymous(&mut json);
        let (json, name) = (json.to_string(), format!("{}-{kind}-{number}.json", prefix.display()));
        fs::create_dir_all(replay::folder()).unwrap();
        if json.len() <= PLAIN {
            fs::write(replay::folder().join(name), json).unwrap();
        } else {
            let mut file = GzEncoder::new(Vec::new(), Compression::best());
            file.write_all(json.as_bytes()).unwrap();
            fs::write(replay::folder().join(name + ".gz"), file.finish().unwrap()).unwrap();
        }
    }
}

/// Who did it names a machine; no replay reads it.
fn anonymous(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "identity" && !text.is_empty() => {
                        "recorded".clone_into(text)
                    }
                    _ => anonymous(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(anonymous),
        _ => {}
    }
}

fn kinds(history: &History) -> Vec<&str> {
    history.events.iter().filter_map(|event| Some(replay::activity(event)?.0)).collect()
}

fn updates(history: &History) -> usize {
    let accepted = |attributes| {
        matches!(attributes, &Some(Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(_)))
    };
    history.events.iter().filter(|event| accepted(&event.attributes)).count()
}

fn last(history: &History) -> String {
    format!("{:?}", history.events.last().unwrap().event_type())
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_nights_failing_ones_and_the_expiry_pass_replay() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let client = nights.client().await;
    let seeded = platform::seed(&nights.owner, &SeedOptions::default()).await.unwrap();
    for user in seeded.users.iter().take(3).copied().chain([Uuid::new_v4()]) {
        nights.request(user).await;
    }
    nights.night().await;
    // A night that fails: the catalogue does not fit.
    sqlx::raw_sql("alter table public.releases drop column notes").execute(&nights.owner).await.unwrap();
    nights.try_night().await.unwrap_err();
    let runs = histories(&nights, &client, "nightly_batch").await;
    assert_eq!(runs.len(), 3, "two looks of one night, and one that failed");
    assert!(kinds(&runs[0]).contains(&"fulfil_export_request"), "{:?}", kinds(&runs[0]));
    assert_eq!(last(&runs[2]), "WorkflowExecutionFailed");
    keep("plain", &runs[..2]).await;
    keep("failed", &runs[2..]).await;

    nights.try_temporal(&["schedule", "trigger", "--schedule-id", "export_expiry"]).await.unwrap();
    wait::until("an expiry pass", SOON, || async {
        let runs = nights.runs("export_expiry").await;
        Ok((!runs.is_empty() && runs.iter().all(|run| run.status == "COMPLETED")).then_some(()))
    })
    .await
    .unwrap();
    let passes = histories(&nights, &client, "export_expiry").await;
    assert!(!passes.is_empty());
    keep("expiry", &passes[..1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nights_with_every_old_input_and_runs_for_named_requests_replay() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let client = nights.client().await;
    // As a release handed it on that knew neither `steering` nor `only`.
    let handed_on = json!({
        "night": "2026-11-20", "look": 2, "page": 0, "cutoff": "2026-11-20T01:00:00Z", "cursor": null,
        "counters": {"fulfilled": 8, "failed": {"account_deleted": 1}, "deferred": 0},
        "started_at": "2026-11-20T01:00:00Z", "pending_at_start": 9,
    });
    nights.request(given::user(&nights.owner).await).await;
    for (id, input) in [
        ("null", json!(null)),
        ("nothing-said", json!({})),
        ("handed-on", handed_on),
        ("refused", json!({"lok": 2})),
    ] {
        nights.start_night(id, &input).await;
        assert_eq!(nights.ended_of(id).await, if id == "refused" { "FAILED" } else { "COMPLETED" });
        keep(&format!("input-{id}"), &chain(&nights, &client, id).await[..1]).await;
    }
    let queue = nights.environment["EXPORT_TASK_QUEUE"].as_str();
    let start =
        ["workflow", "start", "--type", "nightly_batch", "--workflow-id", "absent", "--task-queue", queue];
    nights.temporal(&start).await;
    assert_eq!(nights.ended_of("absent").await, "COMPLETED");
    keep("input-absent", &chain(&nights, &client, "absent").await[..1]).await;

    let named =
        [nights.request(given::user(&nights.owner).await).await, nights.request(Uuid::new_v4()).await];
    for (id, only) in [("only", json!(named)), ("only-unknown", json!([Uuid::new_v4()]))] {
        nights.start_night(id, &json!({"only": only})).await;
        nights.ended_of(id).await;
        let runs = chain(&nights, &client, id).await;
        assert!(!kinds(&runs[0]).contains(&"sweep_orphans"), "{:?}", kinds(&runs[0]));
        keep(id, &runs).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_more_than_one_page_replays() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    // Nobody has these users, so each ends at once.
    sqlx::raw_sql(
        "insert into public.data_export_requests (user_id) select gen_random_uuid() from generate_series(1, 503)",
    )
    .execute(&nights.owner)
    .await
    .unwrap();
    // So many at once are held back, unless a person has looked.
    nights.start_night("paged", &json!({"accept": ["account_deleted"]})).await;
    assert_eq!(nights.ended_of("paged").await, "COMPLETED");
    let runs = histories(&nights, &nights.client().await, "nightly_batch").await;
    let served =
        runs.iter().map(|run| kinds(run).iter().filter(|kind| **kind == "fulfil_export_request").count());
    assert_eq!(served.collect::<Vec<_>>(), [500, 3, 0], "two pages, and a second round");
    keep("paged", &runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_was_paused_narrowed_and_resumed_replays() {
    let nights = Nights::on_faulty_store().await;
    nights.faulty().fail("PutObject", FIRST_ARCHIVE, Fault::Hold);
    let _worker = nights.worker(&[]).await;
    for _ in 0..3 {
        nights.request(given::user(&nights.owner).await).await;
    }
    nights.start_night("paused", &json!({"steering": {"window": 1}})).await;
    nights.until_uploading().await;
    let update = async |name: &str, input: Value| {
        let input = input.to_string();
        let order =
            ["workflow", "update", "execute", "--workflow-id", "paused", "--name", name, "--input", &input];
        nights.temporal(&order).await;
    };
    update("pause", json!({"by": "ada", "why": "the store moves"})).await;
    update("set_window", json!({"lanes": 2})).await;
    nights.faulty().release();
    wait::until("the first request to end", SOON, || async {
        Ok((nights.progress("paused").await["served"] == 1).then_some(()))
    })
    .await
    .unwrap();
    update("resume", json!({"by": "bob", "why": "it has moved"})).await;
    assert_eq!(nights.ended().await, "COMPLETED");
    let runs = histories(&nights, &nights.client().await, "nightly_batch").await;
    assert_eq!(runs.iter().map(updates).collect::<Vec<_>>(), [3, 0]);
    keep("paused", &runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_by_day_that_were_asked_again_paused_and_narrowed_replay() {
    let nights = Nights::on_faulty_store().await;
    sqlx::query("update public.data_export_policy set start = 'at_once'")
        .execute(&nights.owner)
        .await
        .unwrap();
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    nights.faulty().fail_all("PutObject", Fault::Hold);
    let user = given::user(&nights.owner).await;
    nights.request(user).await;
    nights.until_uploading().await;
    let update = async |name: &str, input: Value| {
        let input = input.to_string();
        let order = ["workflow", "update", "execute", "--workflow-id", EXPORT_AT_ONCE, "--name", name];
        nights.temporal(&[order.as_slice(), &["--input", &input]].concat()).await;
    };
    nights.requests(3).await;
    nights.faulty().wait_in_flight("PutObject", 4).await.unwrap();
    update("set_window", json!({"lanes": 1})).await;
    update("pause", json!({"by": "ada", "why": "the store moves"})).await;
    nights.faulty().release();
    nights.until_ready(4).await;
    nights.request(Uuid::new_v4()).await;
    update("resume", json!({"by": "bob"})).await;
    assert_eq!(nights.ended_of(EXPORT_AT_ONCE).await, "COMPLETED");
    let runs = histories(&nights, &nights.client().await, EXPORT_AT_ONCE).await;
    assert!(updates(&runs[0]) == 3, "{}", updates(&runs[0]));
    keep("at_once", &runs[..1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nights_that_were_cancelled_and_reset_replay() {
    let nights = Nights::on_faulty_store().await;
    let worker = nights.worker(&[("EXPORT_LEASE", "15s")]).await;
    until_said(&worker, "Polling task queue").await;
    nights.faulty().fail_all("PutObject", Fault::Hold);
    let request = nights.request(given::user(&nights.owner).await).await;
    let client = nights.client().await;
    let until_claimed = async |claims: i32| {
        wait::until("an attempt", crate::support::night_of::NIGHT, || async {
            Ok((nights.counted(request).await.0 == claims).then_some(()))
        })
        .await
        .unwrap();
        nights.faulty().wait_in_flight("PutObject", 1).await.unwrap();
    };
    nights.start_night("cancelled", &json!({})).await;
    until_claimed(1).await;
    nights.temporal(&["workflow", "cancel", "--workflow-id", "cancelled"]).await;
    assert_eq!(nights.ended_of("cancelled").await, "CANCELED");
    let cancelled = chain(&nights, &client, "cancelled").await;
    assert_eq!(last(&cancelled[0]), "WorkflowExecutionCanceled");
    keep("cancelled", &cancelled).await;

    nights.start_night("reset", &json!({})).await;
    until_claimed(2).await;
    let reset =
        ["workflow", "reset", "--workflow-id", "reset", "--type", "LastWorkflowTask", "--reason", "test"];
    nights.temporal(&reset).await;
    until_claimed(3).await;
    nights.faulty().release();
    assert_eq!(nights.ended_of("reset").await, "COMPLETED", "{}", worker.last_words());
    let runs = chain(&nights, &client, "reset").await;
    assert_eq!(
        runs.iter().map(last).collect::<Vec<_>>(),
        ["WorkflowExecutionTerminated", "WorkflowExecutionContinuedAsNew", "WorkflowExecutionCompleted"]
    );
    keep("reset", &runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_in_which_a_run_can_be_taken_has_the_same_events() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    nights.request(given::user(&nights.owner).await).await;
    nights.request(Uuid::new_v4()).await;
    nights.start_night("taken", &json!({})).await;
    assert_eq!(nights.ended_of("taken").await, "COMPLETED");
    let runs = nights.runs("nightly_batch").await;
    let (second, first) = (&runs[0].run_id, &runs[1].run_id);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (own, latest, cli, web) = (path("own.json"), path("latest.json"), path("cli.json"), path("web.json"));
    let dump = async |line: &[&str]| {
        worker::command(&nights.environment, &[["history", "dump"].as_slice(), line].concat()).await
    };
    let said = dump(&["taken", "--run-id", first, "-o", &own]).await.unwrap();
    assert!(said.starts_with("Wrote ") && said.contains("events of `taken`"), "{said}");
    dump(&["taken", "-o", &latest]).await.unwrap();

    let show = ["workflow", "show", "--workflow-id", "taken", "--run-id", first];
    fs::write(&cli, nights.try_temporal(&show).await.unwrap()).unwrap();
    let address = format!(
        "{}/api/v1/namespaces/{}/workflows/taken/history?execution.runId={first}",
        stack().await.unwrap().servers().temporal.web_ui(),
        nights.environment["TEMPORAL_NAMESPACE"]
    );
    let answer: Value =
        serde_json::from_str(&reqwest::get(address).await.unwrap().text().await.unwrap()).unwrap();
    fs::write(&web, answer["history"].to_string()).unwrap();

    let [own_read, cli_read, web_read, latest_read] =
        [&own, &cli, &web, &latest].map(|file| history::read(&fs::read(file).unwrap()).unwrap());
    assert!(own_read.events.len() > 10);
    assert_eq!(own_read, cli_read);
    assert_eq!(own_read, web_read);
    let client = nights.client().await;
    assert_eq!(latest_read, history::fetch(&client, "taken", Some(second)).await.unwrap());
    // The control: another run differs, and so does another byte.
    assert_ne!(own_read, latest_read);
    let other = fs::read_to_string(&cli).unwrap().replacen("\"attempt\": 1", "\"attempt\": 2", 1);
    assert_ne!(history::read(other.as_bytes()).unwrap(), own_read);

    let replay = ["history", "replay", &own, &cli, &web, &latest];
    let said = worker::command(&BTreeMap::new(), &replay).await.unwrap();
    assert_eq!(said.matches(": ok (nightly_batch, ").count(), 4, "{said}");
    // Not byte by byte: the maps in it have no order.
    let shown = dump(&["taken", "--run-id", first, "-o", "-"]).await.unwrap();
    assert_eq!(history::read(shown.as_bytes()).unwrap(), own_read);
    for (line, cause) in [
        (["never", "-o", &own].as_slice(), "there is no workflow `never` in namespace"),
        (&["taken", "--run-id", "11111111-1111-4111-8111-111111111111", "-o", &own], "with a run `11111111-"),
        (&["taken", "--run-id", "first", "-o", &own], "with a run `first`"),
        (&["taken", "-o", "/nowhere/to/be/found"], "failed to write `/nowhere/to/be/found`"),
    ] {
        let error = format!("{:#}", dump(line).await.unwrap_err());
        assert!(error.contains(cause), "{line:?}: {error}");
    }
}
