//! Failures whose message and trace are encrypted: on the way out by the SDK, on the way in read again at every depth,
//! which the SDK does for the outermost alone where somebody looks at the causes below it.

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

/// The SDK's own converter with that difference.
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

/// What the SDK takes out of a failure.
#[derive(Deserialize)]
struct Attributes {
    message: String,
    #[serde(default)]
    stack_trace: String,
}

/// Nothing is read of what is still encrypted, or was never ours.
fn read(payload: &Payload) -> Option<Attributes> {
    serde_json::from_slice(&payload.data).ok()
}

/// Gives the message of a failure that the SDK's client hands on as it came.
pub(crate) async fn message(client: &Client, failure: Failure) -> String {
    let Some(payload) = failure.encoded_attributes else { return failure.message };
    let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let decoded = client.data_converter().codec().decode(&context, vec![payload]).await;
    match decoded {
        Ok(payloads) => payloads.first().and_then(read).map_or(failure.message, |read| read.message),
        Err(error) => error.to_string(),
    }
}
