//! Decodes a workflow's input by hand: nothing, `null`, `{}` and a full input all work.
//!
//! The Web UI starts a workflow without a payload, on which a typed argument hangs the run for ever; and a wrong
//! type must end the run with the field's name instead of failing its workflow task again and again.

use serde::de::DeserializeOwned;
use temporalio_common::{data_converters::RawValue, error::ApplicationFailure};

/// Decodes the input, or makes the non-retryable failure `InvalidInput` that names the field.
pub(crate) fn decode<T: Default + DeserializeOwned>(raw: &RawValue) -> Result<T, ApplicationFailure> {
    let data = match raw.payloads.as_slice() {
        [] => return Ok(T::default()),
        [payload] if payload.data.is_empty() => return Ok(T::default()),
        [payload] => payload.data.as_slice(),
        more => return Err(invalid(format!("one input is expected, {} were given", more.len()))),
    };
    let json = &mut serde_json::Deserializer::from_slice(data);
    let decoded: Result<Option<T>, _> = serde_path_to_error::deserialize(json);
    match decoded {
        Ok(input) => Ok(input.unwrap_or_default()),
        Err(error) if error.path().iter().next().is_none() => Err(invalid(error.inner().to_string())),
        Err(error) => Err(invalid(format!("field `{}`: {}", error.path(), error.inner()))),
    }
}

fn invalid(what: String) -> ApplicationFailure {
    ApplicationFailure::builder(anyhow::anyhow!(
        "the input is invalid: {what}; start the workflow without input, or see `ARCHITECTURE.md`"
    ))
    .type_name("InvalidInput".to_owned())
    .non_retryable(true)
    .build()
}
