//! Turns a failed activity into the failure of its run, with the same code and a sentence.

use serde::Serialize;
use temporalio_common::{
    error::ApplicationFailure,
    protos::temporal::api::failure::v1::{Failure, failure::FailureInfo},
};
use temporalio_workflow::ActivityExecutionError;

/// Why an activity has no result: a closed code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    code: String,
    message: String,
}

impl Cause {
    /// The activity succeeded, but its result has the wrong type.
    ///
    /// The text of the SDK is left out, because it may repeat the result.
    pub(crate) fn unreadable_result() -> Self {
        Self::new(
            "unreadable_result",
            "its result cannot be read: another release of the worker wrote it, or a person completed the activity",
        )
    }

    /// Returns the code.
    pub(crate) fn into_code(self) -> String {
        self.code
    }

    fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }

    /// Reads the innermost failure that has a type. The cause of a timeout is the failure of the last attempt. If no
    /// failure has a type, the kind of the innermost one is the code.
    fn of(failure: &Failure) -> Self {
        let chain = std::iter::successors(Some(failure), |failure| failure.cause.as_deref());
        let typed = chain.clone().filter_map(|failure| match &failure.failure_info {
            Some(FailureInfo::ApplicationFailureInfo(info)) if !info.r#type.is_empty() => {
                Some(Self::new(&info.r#type, &failure.message))
            }
            _ => None,
        });
        if let Some(typed) = typed.last() {
            return typed;
        }
        let innermost = chain.last().unwrap_or(failure);
        let code = match &innermost.failure_info {
            Some(FailureInfo::TimeoutFailureInfo(_)) => "timeout",
            Some(FailureInfo::CanceledFailureInfo(_)) => "cancelled",
            _ => "unexpected",
        };
        Self::new(code, &innermost.message)
    }
}

impl From<&ActivityExecutionError> for Cause {
    fn from(error: &ActivityExecutionError) -> Self {
        error.failure().map_or_else(Self::unreadable_result, Self::of)
    }
}

impl From<ActivityExecutionError> for Cause {
    fn from(error: ActivityExecutionError) -> Self {
        Self::from(&error)
    }
}

/// Returns the failure that ends a run because one of its activities failed for good. Its details hold the counts of
/// the night so far, in place of the result.
pub(crate) fn of_run(
    cause: Cause,
    what: &str,
    counted: Option<impl Serialize + Send + Sync + 'static>,
) -> ApplicationFailure {
    let Cause { code, message } = cause;
    ApplicationFailure::builder(anyhow::anyhow!("{what}: {message}"))
        .type_name(code)
        .non_retryable(true)
        .maybe_details(counted)
        .build()
}

#[cfg(test)]
mod tests {
    use temporalio_common::{
        data_converters::PayloadConversionError,
        protos::temporal::api::failure::v1::{
            ActivityFailureInfo, ApplicationFailureInfo, CanceledFailureInfo, TerminatedFailureInfo,
            TimeoutFailureInfo,
        },
    };

    use super::*;

    fn failure(message: &str, info: FailureInfo, cause: Option<Failure>) -> Failure {
        Failure {
            message: message.to_owned(),
            failure_info: Some(info),
            cause: cause.map(Box::new),
            ..Default::default()
        }
    }

    fn application(code: &str) -> FailureInfo {
        FailureInfo::ApplicationFailureInfo(ApplicationFailureInfo {
            r#type: code.to_owned(),
            ..Default::default()
        })
    }

    #[test]
    fn a_failure_has_the_code_of_its_innermost_type_or_is_named_as_what_it_was() {
        let timeout = || FailureInfo::TimeoutFailureInfo(TimeoutFailureInfo::default());
        let drift = || failure("a column is gone", application("catalogue_drift"), None);
        for (inner, code, message) in [
            (drift(), "catalogue_drift", "a column is gone"),
            (failure("out of time", timeout(), Some(drift())), "catalogue_drift", "a column is gone"),
            (failure("out of time", timeout(), None), "timeout", "out of time"),
            (failure("by hand", application(""), None), "unexpected", "by hand"),
            (
                failure("no", FailureInfo::CanceledFailureInfo(CanceledFailureInfo::default()), None),
                "cancelled",
                "no",
            ),
            (
                failure("ended", FailureInfo::TerminatedFailureInfo(TerminatedFailureInfo::default()), None),
                "unexpected",
                "ended",
            ),
        ] {
            let activity = FailureInfo::ActivityFailureInfo(ActivityFailureInfo::default());
            let outer = failure("activity error", activity, Some(inner));
            assert_eq!(Cause::of(&outer), Cause::new(code, message));
        }
    }

    #[test]
    fn a_result_that_cannot_be_read_is_no_timeout_and_is_not_repeated() {
        let error = PayloadConversionError::EncodingError("invalid type: string \"mk-value\"".into());
        let cause = Cause::from(&ActivityExecutionError::Serialization(error));
        assert_eq!(cause, Cause::unreadable_result());
        assert!(!cause.message.contains("mk-value"), "{cause:?}");
    }
}
