//! Limits the time of each call to our own database, so that no attempt waits for a server that vanished silently.
//!
//! The server itself limits statements and waits for locks (`session.rs`). This limit is for a server that does not
//! answer.

use std::time::Duration;

use anyhow::Result;

/// Longer than the usual wait for a connection (`EXPORT_ACQUIRE_TIMEOUT`) and the longest statement together.
const WITHIN: Duration = Duration::from_secs(60);

/// Waits for the answer to a call. A missing answer is a fault of the system, like a lost connection. The session is
/// closed when it returns to the pool.
pub async fn call<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    within(WITHIN, work).await
}

async fn within<T>(bound: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(bound, work).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Class, judge};

    #[tokio::test]
    async fn a_call_without_an_answer_is_a_fault_of_the_system() {
        let silent = std::future::pending::<Result<()>>();
        let error = within(Duration::from_millis(5), silent).await.unwrap_err();
        let verdict = judge(&error);
        assert_eq!((verdict.class, verdict.code.as_str()), (Class::System, "database/connection"));
    }
}
