//! A night is found in the Web UI by its date and its failures, and runs just as well where that is not to be had.

use export_stack::{servers::worker, wait};
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{Nights, SOON},
};

/// The type of the event that sets them.
const UPSERTED: &str = "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES";

/// Returns the workflow ids of all runs that match.
async fn found(nights: &Nights, query: &str) -> Vec<String> {
    let list = nights.temporal(&["workflow", "list", "--query", query]).await;
    let runs = list.as_array().cloned().unwrap_or_default();
    runs.iter().map(|run| run["execution"]["workflowId"].as_str().unwrap().to_owned()).collect()
}

/// A night with one archive and two failures.
async fn night(nights: &Nights) -> serde_json::Value {
    nights.request(given::user(&nights.owner).await).await;
    nights.request(Uuid::new_v4()).await;
    nights.request(Uuid::new_v4()).await;
    nights.night().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_is_found_by_its_date_and_its_failures() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let report = night(&nights).await;
    let date = report["result"]["night"].as_str().unwrap();
    // Both rounds of it: the second run inherits what the first has set.
    let query = format!("WorkflowType = 'nightly_batch' AND ExportNight = '{date}' AND ExportFailed = 2");
    wait::until("both runs to be found", SOON, || async {
        Ok((found(&nights, &query).await.len() == 2).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(found(&nights, "ExportFailed > 2").await, Vec::<String>::new());
    let history = nights.histories().await;
    assert_eq!(history.matches(UPSERTED).count(), 2, "once for the night, once for its failures");

    nights.night().await;
    let quiet = format!("ExportNight = '{date}' AND ExportFailed = 0");
    wait::until("the night without failures", SOON, || async {
        Ok((found(&nights, &quiet).await.len() == 2).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_the_attributes_finishes_the_night_all_the_same() {
    let nights = Nights::new().await;
    let remove = [
        "operator",
        "search-attribute",
        "remove",
        "--yes",
        "--name",
        "ExportNight",
        "--name",
        "ExportFailed",
    ];
    let namespace = ["--namespace", &nights.environment["TEMPORAL_NAMESPACE"]];
    nights.try_temporal(&[&remove[..], &namespace].concat()).await.unwrap();
    let _worker = nights.worker(&[]).await;
    assert_eq!(night(&nights).await["result"]["fulfilled"], 1);
    assert!(!nights.histories().await.contains(UPSERTED));

    // Somebody else's attribute of that name cannot be registered: the schedules are applied, and the command is named.
    let another = ["operator", "search-attribute", "create", "--name", "ExportNight", "--type", "Int"];
    nights.try_temporal(&[&another[..], &namespace].concat()).await.unwrap();
    let applied = worker::output(&nights.environment, &["schedule", "apply"]).await.unwrap();
    let said = String::from_utf8(applied.stderr).unwrap();
    assert!(applied.status.success(), "{said}");
    assert!(
        said.contains("temporal operator search-attribute create") && said.contains("another type"),
        "{said}"
    );
    nights.night().await;
}
