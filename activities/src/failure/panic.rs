//! Turns a panic into a failure of our own code.

use std::panic::AssertUnwindSafe;

use anyhow::Result;
use futures::FutureExt as _;

use crate::failure::Failure;

/// Turns a panic in `work` into a failure. Drops its message, which the SDK would show: it may hold a row value.
pub async fn caught<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    // Safe to unwind: the attempt restarts and reads nothing that the panic left half done.
    let worked = AssertUnwindSafe(work).catch_unwind().await;
    worked.unwrap_or_else(|_| Err(Failure::Panic(what.to_owned()).into()))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::{
        blocking,
        failure::{Class, judge},
    };

    #[tokio::test]
    async fn a_panic_is_our_own_fault_and_its_message_is_nowhere_on_whatever_thread_it_was() {
        let value = "alice@example.org";
        let here = caught::<()>("deliver", async move { panic!("the row of {value} was odd") });
        let beside = blocking::run::<(), _>("write", move || panic!("the row of {value} was odd"));
        let beside = caught("deliver", async { beside.await.context("failed to export") });
        for (what, error) in [("deliver", here.await), ("write", beside.await)] {
            let error = error.unwrap_err();
            let verdict = judge(&error);
            assert_eq!((verdict.class, verdict.code.as_str()), (Class::Request, "panic"));
            assert_eq!(verdict.detail, format!("a panic was caught at {what}"));
            assert!(!format!("{error:?} {verdict:?}").contains("alice"), "{error:?} {verdict:?}");
        }
    }

    #[tokio::test]
    async fn what_does_not_panic_is_passed_on_as_it_is() {
        assert_eq!(caught("count", async { Ok(3) }).await.unwrap(), 3);
        let error = caught::<()>("count", async { Err(Failure::SpoolFull.into()) }).await.unwrap_err();
        assert_eq!(judge(&error).code, "spool_full");
    }
}
