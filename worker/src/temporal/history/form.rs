//! Reads a history in either format. `history dump` writes the SDK's own JSON (snake case, enums as numbers). The Web
//! UI and the Temporal CLI write proto3 JSON (camel case, enums by name, times as text).

use std::sync::LazyLock;

use anyhow::{Context as _, Result, anyhow, bail};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde::{Deserialize, de::IgnoredAny};
use temporalio_common::protos::temporal::api::history::v1::History;

/// The messages of Temporal's API from which the SDK's types were generated.
static DESCRIPTORS: &[u8] = include_bytes!(env!("TEMPORAL_DESCRIPTORS"));

/// The fields that distinguish the formats.
#[derive(Deserialize)]
struct FormatProbe {
    events: Vec<ProbedEvent>,
}

#[derive(Deserialize)]
struct ProbedEvent {
    event_id: Option<IgnoredAny>,
    #[serde(rename = "eventId")]
    camel: Option<IgnoredAny>,
}

/// Reads a history in either format.
pub fn read(json: &[u8]) -> Result<History> {
    let probe: FormatProbe = serde_json::from_slice(json).map_err(|error| {
        anyhow!(
            "it is no history in JSON ({error}): take one from `export-worker history dump`, from `temporal workflow \
             show -o json`, or from Download in the Web UI"
        )
    })?;
    match probe.events.first() {
        None => bail!("it has no events"),
        Some(ProbedEvent { event_id: Some(_), .. }) => {
            serde_json::from_slice(json).context("it has the SDK's form, but cannot be read")
        }
        Some(ProbedEvent { camel: Some(_), .. }) => proto3(json).context(
            "it has the form of the Web UI and the Temporal CLI, but cannot be read (in the Web UI's Download, take \
             Encoded)",
        ),
        Some(_) => bail!("its events have no ids: it is no history of Temporal"),
    }
}

fn proto3(json: &[u8]) -> Result<History> {
    // A newer server may write fields that this release does not know and does not need.
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let json = &mut serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize_with_options(descriptor()?, json, &options)?;
    Ok(message.transcode_to()?)
}

fn descriptor() -> Result<MessageDescriptor> {
    static POOL: LazyLock<Result<DescriptorPool, String>> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).map_err(|error| error.to_string()));
    let pool = POOL
        .as_ref()
        .map_err(|error| anyhow!("the descriptors of Temporal's messages are broken: {error}"))?;
    pool.get_message_by_name("temporal.api.history.v1.History").context("Temporal's messages have no History")
}

#[cfg(test)]
mod tests {
    use temporalio_common::protos::temporal::api::{
        enums::v1::EventType, history::v1::history_event::Attributes,
    };

    use super::*;

    const STARTED: &str = r#"{"events": [{
        "eventId": "1", "eventTime": "2026-11-21T08:24:32.957221587Z",
        "eventType": "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED", "taskId": "1048656", "fromTomorrow": {"a": 1},
        "workflowExecutionStartedEventAttributes": {
            "workflowType": {"name": "nightly_batch"}, "workflowTaskTimeout": "10s", "attempt": 1,
            "input": {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "e30="}]}
        }}]}"#;

    #[test]
    fn the_form_of_the_web_ui_is_read_with_its_names_times_and_bytes() {
        let history = read(STARTED.as_bytes()).unwrap();
        let event = &history.events[0];
        assert_eq!((event.event_id, event.task_id), (1, 1_048_656));
        assert_eq!(event.event_type(), EventType::WorkflowExecutionStarted);
        assert_eq!(event.event_time.unwrap().nanos, 957_221_587);
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = &event.attributes else {
            panic!("{event:?}");
        };
        assert_eq!(started.input.as_ref().unwrap().payloads[0].data, b"{}");
        assert_eq!(started.workflow_task_timeout.unwrap().seconds, 10);
    }

    #[test]
    fn both_forms_of_one_history_are_the_same_events() {
        let history = read(STARTED.as_bytes()).unwrap();
        let own = serde_json::to_vec(&history).unwrap();
        assert_eq!(read(&own).unwrap(), history);
    }

    #[test]
    fn what_is_no_history_is_said_to_be_none() {
        for (json, said) in [
            ("", "no history in JSON"),
            ("PK\u{3}", "no history in JSON"),
            ("[]", "no history in JSON"),
            ("{}", "missing field `events`"),
            (r#"{"events": []}"#, "no events"),
            (r#"{"events": [{}]}"#, "no ids"),
            (r#"{"events": [{"eventId": "1", "eventTime": "tonight"}]}"#, "the form of the Web UI"),
            (r#"{"events": [{"event_id": "one"}]}"#, "the SDK's form"),
        ] {
            let error = format!("{:#}", read(json.as_bytes()).unwrap_err());
            assert!(error.contains(said), "{json}: {error}");
        }
    }
}
