//! Decodes the input of a workflow or an update by hand: nothing, `null`, `{}` and a full input all work. Encodes that of the
//! next run.
//!
//! The Web UI starts a workflow without a payload, and a typed argument would then hang the run for ever. A wrong type
//! must end the run with the field's name instead of failing its workflow task again and again.

use serde::{Serialize, de::DeserializeOwned};
use temporalio_common::{
    data_converters::{
        GenericPayloadConverter as _, RawValue, SerializationContext, SerializationContextData,
        WorkflowSerializationContext,
    },
    error::ApplicationFailure,
};
use temporalio_workflow::{WorkflowContext, WorkflowResult};

/// Decodes the input, or returns the non-retryable failure `invalid_input` that names the field.
pub(crate) fn decode<T: Default + DeserializeOwned>(raw: &RawValue) -> Result<T, Box<ApplicationFailure>> {
    read(raw).map_err(invalid)
}

/// Decodes the input of a workflow or an update, or returns a text that names the wrong field.
pub(crate) fn read<T: Default + DeserializeOwned>(raw: &RawValue) -> Result<T, String> {
    let data = match raw.payloads.as_slice() {
        [] => return Ok(T::default()),
        [payload] if payload.data.is_empty() => return Ok(T::default()),
        [payload] => payload.data.as_slice(),
        more => return Err(format!("one input is expected, {} were given", more.len())),
    };
    // Serde also reads a struct from a list of its fields; such an input is a mistake.
    if data.trim_ascii_start().starts_with(b"[") {
        return Err("a list was given, and an object is expected".to_owned());
    }
    let json = &mut serde_json::Deserializer::from_slice(data);
    let decoded: Result<Option<T>, _> = serde_path_to_error::deserialize(json);
    match decoded {
        Ok(input) => Ok(input.unwrap_or_default()),
        Err(error) if error.path().iter().next().is_none() => Err(error.inner().to_string()),
        Err(error) => Err(format!("field `{}`: {}", error.path(), error.inner())),
    }
}

/// Encodes the input of the next run of a chain.
pub(crate) fn encode<W, T: Serialize + 'static>(
    ctx: &WorkflowContext<W>,
    next: &T,
) -> WorkflowResult<RawValue> {
    let converter = ctx.payload_converter();
    let data = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let payloads = converter.to_payloads(&SerializationContext::new(&data, converter), next);
    let payloads = payloads.map_err(|error| {
        ApplicationFailure::new(anyhow::anyhow!("failed to encode the next run: {error}"))
    })?;
    Ok(RawValue::new(payloads))
}

/// Returns the failure `invalid_input`.
pub(crate) fn invalid(what: String) -> Box<ApplicationFailure> {
    let failure = ApplicationFailure::builder(anyhow::anyhow!(
        "the input is invalid: {what}; start the workflow without input, or see `ARCHITECTURE.md`"
    ))
    .type_name("invalid_input".to_owned())
    .non_retryable(true)
    .build();
    Box::new(failure)
}

#[cfg(test)]
mod tests {
    use temporalio_common::protos::temporal::api::common::v1::Payload;

    use super::*;
    use crate::nightly_batch::NightInput;

    fn decode_json(json: &str) -> Result<NightInput, String> {
        let payload = Payload { data: json.as_bytes().to_vec(), ..Default::default() };
        decode(&RawValue::new(vec![payload])).map_err(|failure| failure.to_string())
    }

    #[test]
    fn nothing_null_and_an_empty_object_are_a_night_from_its_beginning() {
        let nothing: NightInput = decode(&RawValue::new(vec![])).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(nothing, NightInput::default());
        for json in ["", "null", "{}"] {
            assert_eq!(decode_json(json), Ok(NightInput::default()), "{json:?}");
        }
    }

    #[test]
    fn a_full_input_comes_back_as_it_was_handed_on() {
        let night = NightInput { round: 2, page: 3, pending_at_start: Some(1200), ..Default::default() };
        let json = serde_json::to_string(&night).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(decode_json(&json), Ok(night));
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        let error = decode_json(r#"{"counters": {"fulfilled": "many"}}"#).unwrap_err();
        assert!(error.contains("`counters.fulfilled`"), "{error}");
        assert!(!error.contains("many") || error.contains("string"), "{error}");
    }

    #[test]
    fn an_unknown_field_is_named_rather_than_ignored() {
        let error = decode_json(r#"{"lok": 2}"#).unwrap_err();
        assert!(error.contains("`lok`"), "{error}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in ["5", "\"tonight\"", "[", "{", "[]", " [null, 1]"] {
            assert!(decode_json(json).is_err(), "{json}");
        }
    }

    #[test]
    fn two_inputs_are_refused() {
        assert!(decode::<NightInput>(&RawValue::new(vec![Payload::default(); 2])).is_err());
    }
}
