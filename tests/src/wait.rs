//! Waits on a state, with a bound: the one place where anything here lets time pass.

use std::{future::Future, time::Duration};

use anyhow::bail;
use tokio::time::Instant;

/// How long to let a state settle before looking again.
const INTERVAL: Duration = Duration::from_millis(40);

/// Waits until `look` gives a value.
///
/// `look` gives `Ok(None)` for "not yet" and an error for "never": that one ends the wait at once.
pub async fn until<T, F>(what: &str, bound: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let end = Instant::now() + bound;
    loop {
        if let Some(value) = look().await? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("gave up after {} s: {what}", bound.as_secs());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wait_ends_with_the_value_the_error_or_the_bound() {
        let mut looks = 0;
        let value = until("three looks", Duration::from_secs(9), || {
            looks += 1;
            let value = (looks == 3).then_some(looks);
            async move { Ok(value) }
        });
        assert_eq!(value.await.unwrap(), 3);

        let never = until::<(), _>("never", Duration::from_secs(9), || async { bail!("it is gone") });
        assert_eq!(never.await.unwrap_err().to_string(), "it is gone");

        let late = until::<(), _>("the server answers", Duration::ZERO, || async { Ok(None) });
        assert_eq!(late.await.unwrap_err().to_string(), "gave up after 0 s: the server answers");
    }
}
