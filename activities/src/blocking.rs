//! Runs work that keeps a core busy (CSV, zip, hashing) beside the async threads, inside the caller's span.

use std::future::Future;

use anyhow::Context as _;
use tracing::Span;

use crate::failure::Failure;

/// Starts `work` on a blocking thread at once. The future waits for its end.
///
/// A thread cannot be cancelled: `work` must check its pulse, or end when its queue is closed. A panic becomes
/// [`Failure::Panic`] with `what`; its message is dropped, because it may hold a row value.
pub fn run<T, W>(what: &'static str, work: W) -> impl Future<Output = anyhow::Result<T>> + Send + 'static
where
    T: Send + 'static,
    W: FnOnce() -> anyhow::Result<T> + Send + 'static,
{
    let span = Span::current();
    let thread = tokio::task::spawn_blocking(move || span.in_scope(work));
    async move {
        match thread.await {
            Ok(result) => result.with_context(|| format!("failed to {what}")),
            Err(error) if error.is_panic() => Err(Failure::Panic(what.to_owned()).into()),
            Err(_) => Err(Failure::Interrupted.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_without_its_message() {
        let error = run::<(), _>("count", || panic!("row value")).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "a panic was caught at count");
    }

    #[tokio::test]
    async fn an_error_says_what_was_done() {
        let error = run::<(), _>("count the rows", || anyhow::bail!("no rows")).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "failed to count the rows: no rows");
    }
}
