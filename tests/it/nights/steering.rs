//! Operators steer a running night by updates. Their settings hold in every run of it, on every worker.

use export_stack::{instruments::faulty_store::Fault, servers::worker, supervisor::Process, wait};
use export_worker::temporal::night::{self, Ended};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{FIRST_ARCHIVE, Nights, SOON, kill, until_said},
};

const NIGHT: &str = "steered";

async fn requests(nights: &Nights, count: usize) -> Vec<Uuid> {
    let mut requests = Vec::new();
    for _ in 0..count {
        requests.push(nights.request(given::user(&nights.owner).await).await);
    }
    requests
}

async fn update(nights: &Nights, name: &str, input: &Value) -> anyhow::Result<Value> {
    let input = input.to_string();
    let order = ["workflow", "update", "execute", "--workflow-id", NIGHT, "--name", name, "--input", &input];
    let answer: Value = serde_json::from_str(&nights.try_temporal(&order).await?)?;
    Ok(answer["result"].clone())
}

/// Waits until the night's progress is as `look` wants it.
async fn until(nights: &Nights, what: &str, look: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, SOON, || async {
        let progress = nights.progress(NIGHT).await;
        Ok(look(&progress).then_some(progress))
    })
    .await
    .unwrap()
}

/// A night of three requests that go one after the other; the upload of the first is held.
async fn held_night() -> (Nights, Process) {
    let nights = Nights::on_faulty_store().await;
    nights.faulty().fail("PutObject", FIRST_ARCHIVE, Fault::Hold);
    let worker = nights.worker(&[]).await;
    requests(&nights, 3).await;
    nights.start_night(NIGHT, &json!({"steering": {"window": 1}})).await;
    nights.until_uploading().await;
    (nights, worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_night_ends_what_is_in_flight_and_begins_nothing_until_it_is_resumed() {
    let (nights, worker) = held_night().await;
    let order = json!({"by": "ada", "why": "the store moves"});
    let paused = update(&nights, "pause", &order).await.unwrap();
    assert_eq!(paused["paused"]["by"], "ada");
    assert_eq!(update(&nights, "pause", &order).await.unwrap(), paused, "said twice it is one pause");
    assert_eq!(nights.progress(NIGHT).await["in_flight"], 1);

    nights.faulty().release();
    let progress = until(&nights, "the first request to end", |now| now["served"] == 1).await;
    assert_eq!((&progress["in_flight"], &progress["paused"]["why"]), (&json!(0), &json!("the store moves")));
    assert_eq!(nights.ready().await, 1, "what was in flight has ended well");

    // Another worker hears of it from the history.
    kill(&worker).await;
    let _heir = nights.worker(&[]).await;
    assert_eq!(nights.progress(NIGHT).await, progress);

    update(&nights, "resume", &json!({"by": "bob"})).await.unwrap();
    assert_eq!(nights.ended().await, "COMPLETED");
    nights.assert_sound(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_window_outlive_the_run_in_which_they_were_said() {
    let (nights, _worker) = held_night().await;
    update(&nights, "set_window", &json!({"lanes": 7})).await.unwrap();
    // All three are in flight now; the first round ends in spite of the pause, the second does not start.
    until(&nights, "all to be in flight", |now| now["in_flight"] == 3 || now["served"] == 2).await;
    update(&nights, "pause", &json!({"by": "ada", "why": "the store moves"})).await.unwrap();
    nights.faulty().release();
    let progress = until(&nights, "the second round", |now| now["round"] == 2).await;
    assert_eq!((&progress["paused"]["by"], &progress["window"]), (&json!("ada"), &json!(7)));
    assert_eq!(nights.runs("nightly_batch").await.len(), 2);
    let show = ["workflow", "show", "--workflow-id", NIGHT];
    let history = nights.temporal(&show).await.to_string();
    assert!(!history.contains("list_pending_requests"), "a paused night asked for a page: {history}");

    update(&nights, "resume", &json!({"by": "ada", "why": "it has moved"})).await.unwrap();
    assert_eq!(nights.ended().await, "COMPLETED");
    // The control: resumed, it did ask.
    let history = nights.temporal(&show).await.to_string();
    assert!(history.contains("list_pending_requests"), "{history}");
    nights.assert_sound(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_bounds_what_is_in_flight_and_can_be_widened() {
    let nights = Nights::on_faulty_store().await;
    let worker = nights.worker(&[("EXPORT_SLOTS", "8")]).await;
    until_said(&worker, "Polling task queue").await;
    requests(&nights, 6).await;
    nights.faulty().fail_all("PutObject", Fault::Hold);
    nights.start_night(NIGHT, &json!({"steering": {"window": 2}})).await;
    nights.faulty().wait_in_flight("PutObject", 2).await.unwrap();
    assert_eq!(nights.progress(NIGHT).await["in_flight"], 2);
    update(&nights, "set_window", &json!({"lanes": 4})).await.unwrap();
    nights.faulty().wait_in_flight("PutObject", 4).await.unwrap();
    nights.faulty().release();
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.faulty().peak("PutObject"), 4, "{}", worker.last_words());
    nights.assert_sound(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_order_is_refused_by_its_field_and_changes_nothing() {
    let (nights, _worker) = held_night().await;
    let before = nights.progress(NIGHT).await;
    for (name, input, named) in [
        ("pause", json!({"by": "ada", "why": "  "}), "`why` is empty"),
        ("pause", json!({"why": "the store moves"}), "`by` is empty"),
        ("pause", json!({}), "`by` is empty"),
        ("pause", json!({"by": "ada", "wy": "x"}), "`wy`"),
        ("pause", json!({"by": 7, "why": "x"}), "`by`"),
        ("resume", json!({}), "`by` is empty"),
        ("resume", json!({"by": "ada", "why": ""}), "`why` is empty"),
        ("set_window", json!({"lanes": 0}), "1 to 50"),
        ("set_window", json!({"lanes": 51}), "1 to 50"),
        ("set_window", json!({"lanes": "two"}), "`lanes`"),
        ("stop", json!({}), "stop"),
    ] {
        let error = format!("{:#}", update(&nights, name, &input).await.unwrap_err());
        assert!(error.contains(named), "{name} {input}: {error}");
    }
    // The Web UI sends no payload at all where nothing is typed.
    for (name, named) in [("pause", "`by` is empty"), ("resume", "`by` is empty"), ("set_window", "1 to 50")]
    {
        let order = ["workflow", "update", "execute", "--workflow-id", NIGHT, "--name", name];
        let error = format!("{:#}", nights.try_temporal(&order).await.unwrap_err());
        assert!(error.contains(named), "{name}: {error}");
    }
    assert_eq!(nights.progress(NIGHT).await, before);
    nights.faulty().release();
    assert_eq!(nights.ended().await, "COMPLETED");
    nights.assert_sound(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_details_tell_the_progress_and_what_can_be_typed() {
    let (nights, _worker) = held_night().await;
    update(&nights, "pause", &json!({"by": "ada", "why": "the store moves"})).await.unwrap();
    let metadata = ["workflow", "metadata", "--workflow-id", NIGHT];
    let metadata = nights.temporal(&metadata).await;
    let details = metadata["queryResult"][0]["currentDetails"].as_str().unwrap().to_owned();
    for part in
        ["**0 of 3 served**, 1 in flight", "by `ada`", "`the store moves`", "`set_window`", "`progress`"]
    {
        assert!(details.contains(part), "{part}: {details}");
    }
    update(&nights, "resume", &json!({"by": "ada"})).await.unwrap();
    nights.faulty().release();
    let progress = until(&nights, "a pace", |now| now["served"] == 3 || now["round"] == 2).await;
    assert_eq!((&progress["fulfilled"], &progress["paused"]), (&json!(3), &Value::Null), "{progress}");
    assert_eq!(nights.ended().await, "COMPLETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_night_is_found_and_steered_by_command_and_cancelled_with_its_counts() {
    let (nights, _worker) = held_night().await;
    let command = async |line: &[&str]| {
        let line = [["--output", "json"].as_slice(), line].concat();
        let answer = worker::command(&nights.environment, &line).await?;
        anyhow::Ok(serde_json::from_str::<Value>(&answer)?)
    };
    let paused = command(&["night", "pause", "--why", "the store moves", "--by", "ada"]).await.unwrap();
    assert_eq!((&paused["workflow_id"], &paused["done"]), (&json!(NIGHT), &json!(true)), "{paused}");
    assert_eq!(nights.progress(NIGHT).await["paused"], paused["steering"]["paused"]);
    let narrowed = command(&["night", "window", "3"]).await.unwrap();
    assert_eq!(narrowed["steering"]["window"], 3);
    nights.faulty().release();
    until(&nights, "the first request to end", |now| now["served"] == 1).await;

    let cancelled = command(&["night", "cancel"]).await.unwrap();
    assert_eq!(cancelled["done"], true, "{cancelled}");
    match night::wait(&nights.client().await, NIGHT).await.unwrap() {
        Ended::NotCompleted(sentence, Some(counts)) => {
            assert_eq!(
                (sentence.as_str(), &counts["fulfilled"]),
                ("it was cancelled", &json!(1)),
                "{counts}"
            );
        }
        other => panic!("{other:?}"),
    }
    for line in [
        ["night", "pause", "--why=x", "--by=ada"].as_slice(),
        &["night", "resume", "--by", "ada"],
        &["night", "window", "1"],
        &["night", "cancel"],
    ] {
        let error = format!("{:#}", command(line).await.unwrap_err());
        assert!(error.contains("No night is running"), "{line:?}: {error}");
    }
}
