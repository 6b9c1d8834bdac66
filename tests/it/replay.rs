//! The histories of nights that ran replay under today's code: those recorded in `tests/histories`, and one made now.
//!
//! A recorded history is never written anew to turn a test green: it stands for a night that is still running when a
//! new worker is rolled out. `RECORD_HISTORIES=<prefix>` adds the histories of a new night beside them.

use std::{fs, path::PathBuf};

use export_tests::{
    platform::{self, SeedOptions},
    tools, wait,
};
use export_workflows::{export_expiry::ExportExpiry, nightly_batch::NightlyBatch};
use temporalio_client::{Client, NamespacedClient as _, WorkflowExecutionInfo, WorkflowHistory};
use temporalio_common::protos::temporal::api::{
    enums::v1::EventType,
    history::v1::{History, history_event::Attributes},
};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use uuid::Uuid;

use crate::night_of::{Nights, SOON};

fn folder() -> PathBuf {
    tools::root().join("tests/histories")
}

async fn replay(json: &[u8]) -> Result<(), String> {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<NightlyBatch>()
        .and_then(|options| options.register_workflow::<ExportExpiry>())
        .unwrap()
        .build();
    let history = WorkflowHistory::from_json(json).unwrap();
    let replayed = WorkflowReplayer::new(options).unwrap().replay_workflow(history).await;
    replayed.map_err(|error| error.to_string())
}

fn activities(json: &[u8]) -> usize {
    let history: History = serde_json::from_slice(json).unwrap();
    history.events.iter().filter(|event| event.event_type() == EventType::ActivityTaskScheduled).count()
}

/// Gives the histories of all runs, oldest first, in the SDK's form.
async fn histories(nights: &Nights, client: &Client) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for workflow_type in ["nightly_batch", "export_expiry"] {
        for (number, run) in nights.runs(workflow_type).await.iter().rev().enumerate() {
            let execution = WorkflowExecutionInfo::builder()
                .namespace(client.namespace())
                .workflow_id(&run.id)
                .run_id(&run.run_id)
                .build();
            let handle = execution.bind_untyped(client.clone());
            let json = handle.fetch_history(Default::default()).to_json().await.unwrap();
            all.push((format!("{workflow_type}-{number}"), json));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_of_a_night_with_failures_replay_and_altered_ones_do_not() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let seeded = platform::seed(&nights.owner, &SeedOptions::default()).await.unwrap();
    for user in seeded.users.iter().take(8).copied().chain([Uuid::new_v4()]) {
        nights.request(user).await;
    }
    nights.night().await;
    // A night that fails, and one without anything to do.
    sqlx::raw_sql("alter table public.releases drop column notes").execute(&nights.owner).await.unwrap();
    nights.try_night().await.unwrap_err();
    nights.try_temporal(&["schedule", "trigger", "--schedule-id", "export_expiry"]).await.unwrap();
    wait::until("an expiry pass", SOON, || async {
        let runs = nights.runs("export_expiry").await;
        Ok((!runs.is_empty() && runs.iter().all(|run| run.status == "COMPLETED")).then_some(()))
    })
    .await
    .unwrap();
    let client = nights.client().await;
    let histories = histories(&nights, &client).await;
    assert!(histories.len() >= 4, "two looks of one night, one that failed, and an expiry pass");
    for (name, json) in &histories {
        assert!(activities(json) > 0, "{name} is empty");
        replay(json).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    if let Some(prefix) = std::env::var_os("RECORD_HISTORIES") {
        fs::create_dir_all(folder()).unwrap();
        for (name, json) in &histories {
            fs::write(folder().join(format!("{}-{name}.json", prefix.display())), json).unwrap();
        }
    }
    // The control: the same night with another activity in one place.
    let mut altered: History = serde_json::from_slice(&histories[0].1).unwrap();
    let scheduled = altered.events.iter_mut().find_map(|event| match &mut event.attributes {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => Some(scheduled),
        _ => None,
    });
    scheduled.unwrap().activity_type.as_mut().unwrap().name = "sweep_orphans".to_owned();
    let altered = serde_json::to_vec(&altered).unwrap();
    assert!(replay(&altered).await.is_err(), "an altered history replays");
}

#[tokio::test]
async fn the_recorded_histories_replay() {
    let mut replayed = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let json = fs::read(&path).unwrap();
        assert!(activities(&json) > 0, "{} is empty", path.display());
        replay(&json).await.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        replayed.push(path);
    }
    assert!(replayed.len() >= 4, "there are only {replayed:?}");
}
