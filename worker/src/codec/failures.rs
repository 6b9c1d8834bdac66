//! Failures with encrypted message and trace. The SDK encrypts them. This module reads them back at every depth: the
//! SDK does so only for the outermost failure and not for its causes.

use serde::Deserialize;
use temporalio_client::{Client, NamespacedClient as _};
use temporalio_common::{
    data_converters::{
        DefaultFailureConverter, FailureConverter, PayloadConversionError, PayloadConverter,
        SerializationContextData, WorkflowSerializationContext,
    },
    error::{IncomingError, OutgoingError},
    protos::temporal::api::{common::v1::Payload, failure::v1::Failure},
};

const BY_SDK: DefaultFailureConverter = DefaultFailureConverter::new(true);

/// The SDK's own converter, but reads failures back at every depth.
pub(super) struct Failures;

impl FailureConverter for Failures {
    fn to_failure(
        &self,
        error: OutgoingError,
        converter: &PayloadConverter,
        context: &SerializationContextData,
    ) -> Failure {
        BY_SDK.to_failure(error, converter, context)
    }

    fn to_error(
        &self,
        mut failure: Failure,
        converter: &PayloadConverter,
        context: &SerializationContextData,
    ) -> Result<IncomingError, PayloadConversionError> {
        let mut this = Some(&mut failure);
        while let Some(failure) = this {
            if let Some(attributes) = failure.encoded_attributes.as_ref().and_then(read) {
                (failure.message, failure.stack_trace) = (attributes.message, attributes.stack_trace);
                failure.encoded_attributes = None;
            }
            this = failure.cause.as_deref_mut();
        }
        BY_SDK.to_error(failure, converter, context)
    }
}

/// Fields that the SDK moves out of a failure.
#[derive(Deserialize)]
struct Attributes {
    message: String,
    #[serde(default)]
    stack_trace: String,
}

/// Returns `None` for a payload that is still encrypted, or is not ours.
fn read(payload: &Payload) -> Option<Attributes> {
    serde_json::from_slice(&payload.data).ok()
}

/// Returns the message of a failure that the SDK's client passes on undecoded.
pub(crate) async fn message(client: &Client, failure: Failure) -> String {
    let Some(payload) = failure.encoded_attributes else { return failure.message };
    let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let decoded = client.data_converter().codec().decode(&context, vec![payload]).await;
    match decoded {
        Ok(payloads) => payloads.first().and_then(read).map_or(failure.message, |read| read.message),
        Err(error) => error.to_string(),
    }
}
