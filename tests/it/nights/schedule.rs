//! The schedules match their definitions however often they are applied, keep the operator's part, and one night runs
//! at a time.

use export_stack::shared::TestInstallation;
use export_worker::temporal::{
    night::{self, Ended, Started},
    schedule::{self, Applied, Effect},
};
use export_workflows::contract::{EXPORT_EXPIRY, NIGHTLY_BATCH};
use futures::TryStreamExt as _;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, UntypedWorkflow, WorkflowTerminateOptions,
    schedules::{ScheduleOverlapPolicy, ScheduleSpec},
};
use url::Url;

const QUEUE: &str = "exports-of-a-test";

/// A client of a separate namespace, in which no worker polls.
async fn client() -> Client {
    let installation = TestInstallation::with_namespace().await.unwrap();
    let environment = installation.environment().await.unwrap();
    let address = format!("http://{}", environment["TEMPORAL_ADDRESS"]);
    let connection =
        Connection::connect(ConnectionOptions::new(Url::parse(&address).unwrap()).build()).await.unwrap();
    Client::new(connection, ClientOptions::new(environment["TEMPORAL_NAMESPACE"].clone()).build()).unwrap()
}

async fn nights(client: &Client) -> Vec<String> {
    let runs = client.list_workflows(format!("WorkflowType = '{NIGHTLY_BATCH}'"), Default::default());
    runs.map_ok(|run| run.id().to_owned()).try_collect().await.unwrap()
}

async fn terminate(client: &Client, workflow_id: &str) {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(workflow_id);
    handle.terminate(WorkflowTerminateOptions::builder().reason("test").build()).await.unwrap();
}

#[tokio::test]
async fn applied_twice_both_schedules_are_as_defined() {
    let client = client().await;
    let missing = schedule::show(&client, QUEUE).await.unwrap();
    assert!(missing.iter().all(|state| !state.exists && !state.as_defined));

    let first = schedule::apply(&client, QUEUE).await.unwrap();
    assert_eq!(first, [(NIGHTLY_BATCH, Applied::Created), (EXPORT_EXPIRY, Applied::Created)]);
    let second = schedule::apply(&client, QUEUE).await.unwrap();
    assert_eq!(second, [(NIGHTLY_BATCH, Applied::Updated), (EXPORT_EXPIRY, Applied::Updated)]);

    let states = schedule::show(&client, QUEUE).await.unwrap();
    assert!(states.iter().all(|state| state.as_defined), "{states:?}");
    let night = states.iter().find(|state| state.id == NIGHTLY_BATCH).unwrap();
    assert_eq!(night.next.unwrap().format("%H:%M:%S").to_string(), "01:00:00");
    let other = schedule::show(&client, "another-queue").await.unwrap();
    assert!(other.iter().all(|state| !state.as_defined), "another task queue is a difference");
}

#[tokio::test]
async fn applying_mends_what_is_ours_and_keeps_the_pause_and_the_note() {
    let client = client().await;
    schedule::apply(&client, QUEUE).await.unwrap();
    let handle = client.get_schedule_handle(NIGHTLY_BATCH);
    handle
        .update(
            |update| {
                let spec = ScheduleSpec::builder().cron_strings(vec!["30 4 * * *".to_owned()]).build();
                update
                    .set_spec(spec)
                    .set_overlap_policy(ScheduleOverlapPolicy::AllowAll)
                    .set_pause_on_failure(true);
            },
            Default::default(),
        )
        .await
        .unwrap();
    // Read before it is paused: an update without a token may be carried out after a pause that follows it.
    let broken = schedule::show(&client, QUEUE).await.unwrap();
    assert_eq!(broken[0].differences.len(), 3, "{:?}", broken[0].differences);
    handle.pause(Some("maintenance until noon"), Default::default()).await.unwrap();

    schedule::apply(&client, QUEUE).await.unwrap();
    let mended = schedule::show(&client, QUEUE).await.unwrap();
    assert!(mended[0].as_defined, "{:?}", mended[0].differences);
    assert!(mended[0].paused, "applying never unpauses");
    assert_eq!(mended[0].note.as_deref(), Some("maintenance until noon"));
    assert_eq!(mended[0].next, None, "a paused schedule has no next night");
}

#[tokio::test]
async fn a_second_trigger_names_the_night_that_is_running() {
    let client = client().await;
    schedule::apply(&client, QUEUE).await.unwrap();
    let first = night::trigger(&client, QUEUE, Vec::new()).await.unwrap();
    assert_eq!(first.started, Started::BySchedule);
    let second = night::trigger(&client, QUEUE, Vec::new()).await.unwrap();
    assert_eq!((second.started, &second.workflow_id), (Started::WasRunning, &first.workflow_id));

    let (ended, ()) =
        tokio::join!(night::wait(&client, &first.workflow_id), terminate(&client, &first.workflow_id));
    assert!(matches!(ended.unwrap(), Ended::NotCompleted(sentence, None) if sentence == "it was terminated"));
    assert_eq!(nights(&client).await, [first.workflow_id]);
}

#[tokio::test]
async fn a_paused_schedule_is_triggered_by_hand_all_the_same_and_says_so() {
    let client = client().await;
    schedule::apply(&client, QUEUE).await.unwrap();
    client.get_schedule_handle(NIGHTLY_BATCH).pause(Some("holiday"), Default::default()).await.unwrap();
    let night = night::trigger(&client, QUEUE, Vec::new()).await.unwrap();
    assert!(night.schedule_paused);
    assert_eq!(night.started, Started::BySchedule);
}

#[tokio::test]
async fn a_schedule_is_paused_with_its_reason_unpaused_and_deleted_and_a_missing_one_is_said() {
    let client = client().await;
    assert_eq!(schedule::pause(&client, NIGHTLY_BATCH, "upgrade").await.unwrap(), Effect::Missing);
    schedule::apply(&client, QUEUE).await.unwrap();
    let states = async || schedule::show(&client, QUEUE).await.unwrap();
    assert_eq!(schedule::pause(&client, NIGHTLY_BATCH, "upgrade").await.unwrap(), Effect::Done);
    let paused = states().await;
    assert_eq!((paused[0].paused, paused[0].note.as_deref()), (true, Some("upgrade")));
    assert!(!paused[1].paused, "the expiry pass goes on");
    assert_eq!(schedule::unpause(&client, NIGHTLY_BATCH).await.unwrap(), Effect::Done);
    assert!(!states().await[0].paused);
    assert_eq!(schedule::delete(&client, NIGHTLY_BATCH).await.unwrap(), Effect::Done);
    assert_eq!(schedule::delete(&client, NIGHTLY_BATCH).await.unwrap(), Effect::Missing);
    let left = states().await;
    assert_eq!((left[0].exists, left[1].exists), (false, true));
}

#[tokio::test]
async fn without_a_schedule_a_night_is_started_directly_and_only_once() {
    let client = client().await;
    let (one, two) =
        tokio::join!(night::trigger(&client, QUEUE, Vec::new()), night::trigger(&client, QUEUE, Vec::new()));
    let mut started = [one.unwrap().started, two.unwrap().started];
    started.sort_by_key(|started| *started != Started::Directly);
    assert_eq!(started, [Started::Directly, Started::WasRunning]);
    // The schedule that is made later sees it too.
    schedule::apply(&client, QUEUE).await.unwrap();
    let later = night::trigger(&client, QUEUE, Vec::new()).await.unwrap();
    assert_eq!((later.started, later.workflow_id.as_str()), (Started::WasRunning, NIGHTLY_BATCH));
}

#[tokio::test]
async fn nobody_polls_a_task_queue_without_a_worker() {
    let client = client().await;
    assert!(!night::worker_is_polling(&client, QUEUE).await.unwrap());
}
