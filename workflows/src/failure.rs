//! Turns a failed activity into the failure of its run: the same code, and a sentence.

use temporalio_common::{
    error::ApplicationFailure, protos::temporal::api::failure::v1::failure::FailureInfo,
};
use temporalio_workflow::ActivityExecutionError;

use crate::nightly_batch::NightReport;

/// Makes the failure that ends a run because one of its activities failed for good. What a night had counted until
/// then goes with it as its details, which take the place of the result.
pub(crate) fn of_run(
    error: &ActivityExecutionError,
    what: &str,
    counted: Option<NightReport>,
) -> ApplicationFailure {
    let (code, message) = cause_of(error);
    ApplicationFailure::builder(anyhow::anyhow!("{what}: {message}"))
        .type_name(code)
        .non_retryable(true)
        .maybe_details(counted)
        .build()
}

/// Returns the code of a failed activity: `timeout` when it never said why.
pub(crate) fn code_of(error: &ActivityExecutionError) -> String {
    cause_of(error).0
}

/// Gives type name and message of the innermost failure that has a type: below a timeout lies the failure of
/// the last attempt, below an activity's failure its own.
fn cause_of(error: &ActivityExecutionError) -> (String, String) {
    let mut found = ("timeout".to_owned(), error.to_string());
    let mut failure = error.failure();
    while let Some(this) = failure {
        if let Some(FailureInfo::ApplicationFailureInfo(info)) = &this.failure_info
            && !info.r#type.is_empty()
        {
            found = (info.r#type.clone(), this.message.clone());
        }
        failure = this.cause.as_deref();
    }
    found
}
