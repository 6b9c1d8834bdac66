//! Waits for an unreachable server. Logs each outage once at its start and once at its end; the worker is not ready
//! meanwhile.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::readiness::Readiness;
use crate::connect::explain::Explained;

/// Pauses and time limits of the tries.
#[derive(Clone, Copy)]
struct Patience {
    /// The first pause; it doubles with each try.
    first_pause: Duration,
    /// The longest pause: a server that is back is noticed within this time.
    longest_pause: Duration,
    /// Time limit of one try, so that a server that never answers is reported too.
    try_within: Duration,
}

const PATIENCE: Patience = Patience {
    first_pause: Duration::from_millis(250),
    longest_pause: Duration::from_secs(15),
    try_within: Duration::from_secs(30),
};

/// Time limit of a try that stores megabytes. A slow line delays the start but does not prevent it.
const UPLOAD_WITHIN: Duration = Duration::from_secs(300);

/// Why a try failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The cause may go away.
    Wait(Explained),
    /// Waiting would not help: the worker refuses to start.
    Refuse(anyhow::Error),
}

/// Tries until it succeeds. Returns `None` if the worker stops first.
pub(crate) async fn wait_for<T>(
    what: &str,
    readiness: &Readiness,
    stop: &CancellationToken,
    attempt: impl AsyncFnMut() -> Result<T, Trouble>,
) -> anyhow::Result<Option<T>> {
    wait_with(PATIENCE, what, readiness, stop, attempt).await
}

/// Like [`wait_for`], for a try that stores megabytes.
pub(crate) async fn wait_for_upload<T>(
    what: &str,
    readiness: &Readiness,
    stop: &CancellationToken,
    attempt: impl AsyncFnMut() -> Result<T, Trouble>,
) -> anyhow::Result<Option<T>> {
    let patience = Patience { try_within: UPLOAD_WITHIN, ..PATIENCE };
    wait_with(patience, what, readiness, stop, attempt).await
}

async fn wait_with<T>(
    patience: Patience,
    what: &str,
    readiness: &Readiness,
    stop: &CancellationToken,
    mut attempt: impl AsyncFnMut() -> Result<T, Trouble>,
) -> anyhow::Result<Option<T>> {
    let mut outage = Outage::new(what, readiness);
    let mut pause = patience.first_pause;
    loop {
        let tried = tokio::select! {
            tried = tokio::time::timeout(patience.try_within, attempt()) => tried,
            () = stop.cancelled() => return Ok(None),
        };
        match tried {
            Ok(Ok(found)) => {
                outage.over();
                return Ok(Some(found));
            }
            Ok(Err(Trouble::Refuse(error))) => return Err(error),
            Ok(Err(Trouble::Wait(explained))) => {
                outage.goes_on(&explained);
            }
            Err(_) => {
                let cause = format!("no answer within {} s", patience.try_within.as_secs());
                outage.goes_on(&Explained::new(cause, "check the network between the worker and the server"));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(None),
        }
        pause = (pause * 2).min(patience.longest_pause);
    }
}

/// One outage of one server. Each different cause within it is logged once.
#[derive(Debug)]
pub(crate) struct Outage {
    what: String,
    readiness: Readiness,
    since: Option<Instant>,
    said: HashSet<String>,
}

impl Outage {
    pub(crate) fn new(what: &str, readiness: &Readiness) -> Self {
        Self { what: what.to_owned(), readiness: readiness.clone(), since: None, said: HashSet::new() }
    }

    /// Records a failed try. Returns whether it was news.
    pub(crate) fn goes_on(&mut self, explained: &Explained) -> bool {
        self.since.get_or_insert_with(Instant::now);
        self.readiness.waits(format!("Waiting for {}: {explained}", self.what));
        if !self.said.insert(explained.cause.clone()) {
            return false;
        }
        tracing::warn!(cause = explained.cause, "Waiting for {}: {explained}", self.what);
        true
    }

    /// Records the end of the outage. Returns whether it was news.
    pub(crate) fn over(&mut self) -> bool {
        let Some(since) = self.since.take() else { return false };
        self.said.clear();
        let seconds = since.elapsed().as_secs();
        self.readiness.waits(format!("{} is back; the worker continues", capital(&self.what)));
        tracing::info!(outage.seconds = seconds, "{} answers again, after {seconds} s", capital(&self.what));
        true
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASTE: Patience = Patience {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        try_within: Duration::from_millis(20),
    };

    fn why(cause: &str) -> Explained {
        Explained::new(cause, "fix it")
    }

    #[test]
    fn an_outage_is_said_once_and_its_end_once() {
        let readiness = Readiness::default();
        let mut outage = Outage::new("the store", &readiness);
        assert!(!outage.over(), "nothing was lost yet");
        assert!(outage.goes_on(&why("refused")));
        assert!(!outage.goes_on(&why("refused")));
        assert_eq!(readiness.why_not().as_deref(), Some("Waiting for the store: refused: fix it"));
        assert!(outage.goes_on(&why("wrong password")), "a new cause is news");
        assert!(!outage.goes_on(&why("refused")));
        assert!(outage.over());
        assert!(!outage.over());
        assert!(outage.goes_on(&why("refused")), "the next outage is news again");
    }

    #[tokio::test]
    async fn waiting_ends_with_success_with_a_refusal_or_with_the_stop() {
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let mut tries = 0;
        let found = wait_with(HASTE, "x", &readiness, &stop, async || {
            tries += 1;
            if tries < 4 { Err(Trouble::Wait(why("not yet"))) } else { Ok(tries) }
        });
        assert_eq!(found.await.unwrap(), Some(4));
        let refused = wait_with(HASTE, "x", &readiness, &stop, async || {
            Err::<(), _>(Trouble::Refuse(anyhow::anyhow!("no")))
        });
        assert!(refused.await.is_err());
        stop.cancel();
        let stopped =
            wait_with(HASTE, "x", &readiness, &stop, async || Err::<(), _>(Trouble::Wait(why("not yet"))));
        assert_eq!(stopped.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_black_hole_is_given_up_and_tried_again() {
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let mut tries = 0;
        let found = wait_with(HASTE, "x", &readiness, &stop, async || {
            tries += 1;
            if tries == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<_, Trouble>(tries)
        });
        assert_eq!(found.await.unwrap(), Some(2));
    }
}
