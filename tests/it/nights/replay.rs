//! The recorded histories replay with today's code. A difference is named by its event.
//!
//! A recorded history is never rewritten to turn a test green: it represents a run that is still under way when a
//! new worker is rolled out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use export_stack::{servers::worker, tools};
use export_worker::temporal::history::{self, Difference};
use export_workflows::contract::{Expire, ExpireInput, ListPending, ListPendingInput, Sweep, SweepInput};
use flate2::read::GzDecoder;
use temporalio_common::{
    data_converters::RawValue,
    protos::temporal::api::{
        enums::v1::EventType,
        history::v1::{
            History, HistoryEvent, TimerStartedEventAttributes, WorkflowExecutionStartedEventAttributes,
            history_event::Attributes,
        },
    },
};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use temporalio_workflow::{ActivityOptions, WorkflowContext, WorkflowResult};

pub(crate) fn folder() -> PathBuf {
    tools::root().join("tests/histories")
}

/// Returns type and id of the activity that an event schedules.
pub(crate) fn activity(event: &HistoryEvent) -> Option<(&str, &str)> {
    match &event.attributes {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
            Some((&scheduled.activity_type.as_ref()?.name, &scheduled.activity_id))
        }
        _ => None,
    }
}

fn recorded() -> Vec<(String, History)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        all.push((
            path.file_name().unwrap().to_str().unwrap().to_owned(),
            history::read(&json(&path)).unwrap(),
        ));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn json(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut json = Vec::new();
        GzDecoder::new(bytes.as_slice()).read_to_end(&mut json).unwrap();
        return json;
    }
    bytes
}

#[tokio::test]
async fn the_recorded_histories_replay() {
    let replayer = history::replayer(Default::default()).unwrap();
    let mut kinds = BTreeSet::new();
    for (name, history) in recorded() {
        assert!(history.events.len() > 4, "{name} is empty");
        let replayed = history::replay(&replayer, history).await.unwrap();
        assert_eq!(replayed.failure, None, "{name}");
        // 2026-11-21-<kind>-0.json
        kinds.insert(name.splitn(4, '-').last().unwrap().rsplit_once('-').unwrap().0.to_owned());
    }
    for kind in [
        "plain",
        "failed",
        "paged",
        "paused",
        "cancelled",
        "reset",
        "only",
        "only-unknown",
        "expiry",
        "input-absent",
        "input-null",
        "input-nothing-said",
        "input-handed-on",
        "input-refused",
    ] {
        assert!(kinds.contains(kind), "no history of kind {kind}: {kinds:?}");
    }
}

/// Returns the recording whose name ends so.
fn one(name: &str) -> History {
    recorded().into_iter().find(|(file, _)| file.ends_with(name)).unwrap().1
}

async fn difference(replayer: &WorkflowReplayer, history: History) -> Difference {
    let failure = history::replay(replayer, history).await.unwrap().failure.expect("it replays");
    let difference = failure.difference.unwrap_or_else(|| panic!("no event is named: {}", failure.sentence));
    assert_eq!(failure.sentence, difference.to_string());
    difference
}

/// What must never be done without `ctx.patched`: today's night with its two passes the other way round.
#[workflow]
#[derive(Default)]
struct Reordered;

#[workflow_methods]
impl Reordered {
    #[run(name = "nightly_batch")]
    async fn run(ctx: &mut WorkflowContext<Self>, _: RawValue) -> WorkflowResult<()> {
        let options = || ActivityOptions::start_to_close_timeout(Duration::from_secs(60));
        let _ = ctx.execute_activity(ListPending, ListPendingInput::default(), options()).await;
        let _ = ctx.execute_activity(Sweep, SweepInput::default(), options()).await;
        let _ = ctx.execute_activity(Expire, ExpireInput::default(), options()).await;
        Ok(())
    }
}

#[tokio::test]
async fn a_workflow_whose_steps_were_reordered_fails_at_the_first_event_that_differs() {
    let options = WorkflowReplayerOptions::new().register_workflow::<Reordered>().unwrap().build();
    let replayer = WorkflowReplayer::new(options).unwrap();
    let history = one("-input-handed-on-0.json");
    let recorded = history.events.iter().filter_map(activity).map(|known| known.0).collect::<Vec<_>>();
    assert_eq!(recorded, ["list_pending_requests", "expire_stale_exports", "sweep_orphans"]);
    let difference = difference(&replayer, history).await;
    assert_eq!(
        difference.to_string(),
        "event 11 (ActivityTaskScheduled) differs: the history has activity `expire_stale_exports` with id `2`, the \
         code wants activity `sweep_orphans`"
    );
}

#[tokio::test]
async fn an_event_that_the_code_does_not_make_is_named_with_what_the_code_wants() {
    let replayer = history::replayer(Default::default()).unwrap();
    let night = one("-paged-1.json");
    let served: Vec<usize> =
        (0..night.events.len()).filter(|&at| activity(&night.events[at]).is_some()).skip(1).collect();
    let (first, second) = (served[0], served[1]);
    let id = |at: usize| night.events[at].event_id;

    let mut swapped = night.clone();
    let other = swapped.events[second].attributes.take();
    swapped.events[second].attributes = std::mem::replace(&mut swapped.events[first].attributes, other);
    let named = difference(&replayer, swapped).await;
    assert_eq!((named.event_id, named.event_type.as_str()), (id(first), "ActivityTaskScheduled"));
    let (wanted, recorded) =
        (activity(&night.events[first]).unwrap().1, activity(&night.events[second]).unwrap().1);
    assert!(named.code.contains(wanted) && named.history.contains(recorded), "{named}");

    let timer = Attributes::TimerStartedEventAttributes(TimerStartedEventAttributes {
        timer_id: "7".to_owned(),
        ..Default::default()
    });
    let mut waits = night.clone();
    waits.events[second].event_type = EventType::TimerStarted.into();
    waits.events[second].attributes = Some(timer.clone());
    let named = difference(&replayer, waits).await;
    assert_eq!(
        (named.event_id, named.history.as_str(), named.code.as_str()),
        (id(second), "timer `7`", "an activity")
    );

    let mut more = night.clone();
    let after = *served.last().unwrap();
    let mut event = night.events[after].clone();
    event.event_type = EventType::TimerStarted.into();
    event.attributes = Some(timer);
    more.events.insert(after + 1, event);
    for (event, number) in more.events.iter_mut().zip(1..) {
        event.event_id = number;
    }
    let named = difference(&replayer, more).await;
    assert_eq!((named.event_id, named.code.as_str()), (id(after) + 1, "nothing there"));

    let mut failed = night.clone();
    let last = failed.events.last_mut().unwrap();
    last.event_type = EventType::WorkflowExecutionFailed.into();
    last.attributes = Some(Attributes::WorkflowExecutionFailedEventAttributes(Default::default()));
    let named = difference(&replayer, failed).await;
    assert_eq!(
        (named.event_id, named.code.as_str()),
        (night.events.last().unwrap().event_id, "to continue as new")
    );
}

#[tokio::test]
async fn each_file_has_its_line_and_one_that_fails_makes_the_command_fail() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, json: &[u8]| fs::write(folder.path().join(name), json).unwrap();
    let night = one("-plain-0.json");
    let altered = |alter: &dyn Fn(&mut History)| {
        let mut history = night.clone();
        alter(&mut history);
        serde_json::to_vec(&history).unwrap()
    };
    write("good", &altered(&|_| {}));
    // A run that is still going on.
    write("running", &altered(&|history| history.events.truncate(9)));
    write("text", b"a night to remember");
    write("empty", br#"{"events": []}"#);
    write(
        "foreign",
        &altered(&|history| started(history).workflow_type.as_mut().unwrap().name = "billing".to_owned()),
    );
    write("gap", &altered(&|history| drop(history.events.remove(6))));
    write(
        "part",
        &altered(&|history| {
            history.events.drain(..4);
            history.events.iter_mut().zip(1..).for_each(|(event, number)| event.event_id = number);
        }),
    );
    write(
        "other",
        &altered(&|history| {
            let scheduled = history.events.iter_mut().find_map(|event| match &mut event.attributes {
                Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => Some(scheduled),
                _ => None,
            });
            scheduled.unwrap().activity_type.as_mut().unwrap().name = "sweep_orphans".to_owned();
        }),
    );
    // Neither a server nor any variable.
    let none = BTreeMap::new();
    let said = worker::command(&none, &["history", "replay", &file("good"), &file("running")]).await.unwrap();
    let events = night.events.len();
    assert_eq!(
        said,
        format!(
            "{}: ok (nightly_batch, {events} events)\n{}: ok (nightly_batch, 9 events)\n",
            file("good"),
            file("running")
        )
    );
    for (name, cause) in [
        ("text", "it is no history in JSON"),
        ("empty", "it has no events"),
        ("foreign", "it is of workflow `billing`, which is not ours"),
        ("gap", "its events are incomplete: event 8 is in place of event 7"),
        ("part", "its first event is not the start of a run"),
        (
            "other",
            "event 5 (ActivityTaskScheduled) differs: the history has activity `sweep_orphans` with id `1`, the \
                   code wants activity `list_pending_requests`",
        ),
        ("missing", "it cannot be opened"),
    ] {
        let line = ["history", "replay", &file(name), &file("good")];
        let error = worker::command(&none, &line).await.unwrap_err().to_string();
        assert!(error.contains("ended with exit status: 1"), "{name}: {error}");
        assert!(error.contains(&format!("{}: {cause}", file(name))), "{name}: {error}");
        assert!(error.contains(&format!("{}: ok", file("good"))), "{name}: {error}");
    }
    let line = ["--output", "json", "history", "replay", &file("other")];
    let error = worker::command(&none, &line).await.unwrap_err().to_string();
    let json: serde_json::Value = serde_json::from_str(&error[error.find('[').unwrap()..]).unwrap();
    assert_eq!(json[0]["ok"], false, "{json}");
    assert_eq!(json[0]["failure"]["difference"]["event_id"], 5, "{json}");
}

fn started(history: &mut History) -> &mut WorkflowExecutionStartedEventAttributes {
    match &mut history.events[0].attributes {
        Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => started,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_recording_tells_of_the_machine_on_which_it_was_made() {
    for (name, history) in recorded() {
        let text = serde_json::to_string(&history).unwrap();
        // The first four were made before this was asked; `vm` tells nothing.
        for who in text.split("\"identity\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let harmless = ["", "recorded"].contains(&who)
                || who.ends_with("@vm")
                || who.starts_with("temporal-scheduler-");
            assert!(harmless, "{name}: {who}");
        }
        for secret in ["postgres://", "X-Amz-", "127.0.0.1", "/root", "/home", "/tmp", "/work"] {
            assert!(!text.contains(secret), "{name}: {secret}");
        }
    }
}
