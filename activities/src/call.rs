//! Bounds each call of an attempt to our own database: nobody waits for a server that has gone without a word.
//!
//! The server bounds statements and waits for locks by itself (`session.rs`); this is for the one that does not answer.

use std::time::Duration;

use anyhow::Result;

/// Longer than the usual wait for a connection (`EXPORT_ACQUIRE_TIMEOUT`) and the longest statement together.
const WITHIN: Duration = Duration::from_secs(60);

/// Waits for the answer to a call. One that does not come is a fault of the system, as a lost connection is; the session
/// is cut when it is given back.
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
