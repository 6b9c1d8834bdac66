//! A run for named requests serves those and no others, and `request fulfil` starts one.

use export_stack::{instruments::faulty_store::Fault, servers::worker};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{FIRST_ARCHIVE, Nights},
};

async fn request(nights: &Nights) -> Uuid {
    nights.request(given::user(&nights.owner).await).await
}

async fn command(nights: &Nights, arguments: &[&str]) -> anyhow::Result<Value> {
    let arguments = [["--output", "json"].as_slice(), arguments].concat();
    Ok(serde_json::from_str(&worker::command(&nights.environment, &arguments).await?)?)
}

/// Returns how a run for named requests has failed.
async fn refused(nights: &Nights, id: &str, only: &Value) -> Value {
    nights.start_night(id, &json!({"only": only})).await;
    assert_eq!(nights.ended_of(id).await, "FAILED");
    let history = nights.temporal(&["workflow", "show", "--workflow-id", id]).await;
    let failed = history["events"].as_array().unwrap().last().unwrap();
    failed["workflowExecutionFailedEventAttributes"]["failure"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_for_named_requests_serves_each_once_and_nothing_else() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let overdue = request(&nights).await;
    nights.night().await;
    sqlx::query("update public.data_export_requests set expires_at = now() where id = $1")
        .bind(overdue)
        .execute(&nights.owner)
        .await
        .unwrap();
    let (one, two, other) = (request(&nights).await, request(&nights).await, request(&nights).await);
    // The cutoff and the cursor of a page would exclude both.
    let input = json!({
        "only": [two, one, two, overdue], "cutoff": "2020-01-01T00:00:00Z",
        "cursor": {"requested_at": "2030-01-01T00:00:00Z", "id": one},
    });
    nights.start_night("named", &input).await;
    assert_eq!(nights.ended_of("named").await, "COMPLETED");
    let report = nights.temporal(&["workflow", "result", "--workflow-id", "named"]).await["result"].clone();
    assert_eq!(
        ["fulfilled", "already_done", "pending_at_start", "expired"].map(|count| report[count].as_u64()),
        [Some(2), Some(1), Some(2), Some(0)],
        "{report}"
    );
    for (request, status) in [(one, "ready"), (two, "ready"), (other, "pending")] {
        assert_eq!(nights.status(request).await.0, status);
    }
    let history = nights.temporal(&["workflow", "show", "--workflow-id", "named"]).await.to_string();
    for pass in ["expire_stale_exports", "sweep_orphans"] {
        assert!(!history.contains(pass), "{history}");
    }
    // The control: a night does all of it.
    nights.night().await;
    assert_eq!(nights.status(other).await.0, "ready");
    assert_eq!(nights.status(overdue).await.1.as_deref(), Some("expired"));
    nights.assert_sound(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_exist_are_named_and_nobody_is_served() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let (known, unknown) = (request(&nights).await, Uuid::new_v4());
    for (id, only, named) in [
        ("unknown", json!([known, unknown]), unknown.to_string()),
        ("none", json!([]), "names no request".to_owned()),
        ("many", json!(vec![known; 501]), "501".to_owned()),
        ("wrong", json!([known, "me"]), "`only[1]`".to_owned()),
    ] {
        let failure = refused(&nights, id, &only).await;
        assert_eq!(failure["applicationFailureInfo"]["type"], "invalid_input", "{failure}");
        assert!(failure["message"].as_str().unwrap().contains(&named), "{failure}");
    }
    assert_eq!(nights.status(known).await.0, "pending");
    assert_eq!(nights.counted(known).await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_fulfilled_by_command_in_one_run_however_often_it_is_asked_for() {
    let nights = Nights::on_faulty_store().await;
    nights.faulty().fail("PutObject", FIRST_ARCHIVE, Fault::Hold);
    let _worker = nights.worker(&[]).await;
    let (wanted, other) = (request(&nights).await, request(&nights).await);
    let id = wanted.to_string();
    let first = command(&nights, &["request", "fulfil", &id]).await.unwrap();
    assert_eq!(
        (&first["workflow_id"], &first["started"]),
        (&json!(format!("export-request-{id}")), &json!("directly"))
    );
    nights.until_uploading().await;
    let second = command(&nights, &["request", "fulfil", &id]).await.unwrap();
    assert_eq!(second["started"], "was_running", "{second}");
    // It is no night: neither a trigger nor a pause takes it for one.
    let error = format!(
        "{:#}",
        command(&nights, &["night", "pause", "--why", "x", "--by", "ada"]).await.unwrap_err()
    );
    assert!(error.contains("No night is running"), "{error}");
    nights.faulty().release();

    let waited = command(&nights, &["request", "fulfil", &id, "--wait"]).await;
    match waited {
        Ok(answer) => assert_eq!(answer["completed"], true, "{answer}"),
        // It was ready before it was asked for again.
        Err(error) => assert!(format!("{error:#}").contains("only a pending one"), "{error:#}"),
    }
    assert_eq!(nights.ended_of(first["workflow_id"].as_str().unwrap()).await, "COMPLETED");
    assert_eq!([nights.status(wanted).await.0, nights.status(other).await.0], ["ready", "pending"]);
    for (id, said) in [(id, "only a pending one"), (Uuid::new_v4().to_string(), "There is no request")] {
        let error = format!("{:#}", command(&nights, &["request", "fulfil", &id]).await.unwrap_err());
        assert!(error.contains(said), "{error}");
    }
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_met_a_fault_is_run_again_under_the_same_id() {
    let nights = Nights::on_faulty_store().await;
    let settings = [
        ("EXPORT_DEFER_AFTER", "1s"),
        ("EXPORT_STORE_ATTEMPT_TIMEOUT", "1s"),
        ("EXPORT_STORE_OPERATION_TIMEOUT", "2s"),
    ];
    let _worker = nights.worker(&settings).await;
    nights.night().await; // the bucket is marked
    nights.faulty().fail_all("PutObject", Fault::InternalError);
    let id = request(&nights).await.to_string();
    let error = format!("{:#}", command(&nights, &["request", "fulfil", &id, "--wait"]).await.unwrap_err());
    assert!(error.contains("store/") && error.contains("\"deferred\": 1"), "its counts are shown: {error}");
    nights.faulty().heal();
    let again = command(&nights, &["request", "fulfil", &id, "--wait"]).await.unwrap();
    assert_eq!((&again["completed"], &again["result"]["fulfilled"]), (&json!(true), &json!(1)), "{again}");
    nights.assert_sound(1).await;
}
