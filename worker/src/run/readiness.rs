//! Readiness of the worker, and the sentence that `/readyz` answers.

use tokio::sync::watch;

/// Readiness of the worker, shared by all clones.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(watch::Sender<ReadinessState>);

#[derive(Debug)]
enum ReadinessState {
    Waits(String),
    Serves,
    Stops,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(ReadinessState::Waits("The worker is starting".to_owned())))
    }
}

impl Readiness {
    /// The worker waits; `sentence` names what for.
    pub(crate) fn waits(&self, sentence: String) {
        self.becomes(ReadinessState::Waits(sentence));
    }

    /// The worker polls for work.
    pub(crate) fn serves(&self) {
        self.becomes(ReadinessState::Serves);
    }

    /// The worker drains, and never becomes ready again.
    pub(crate) fn stops(&self) {
        self.becomes(ReadinessState::Stops);
    }

    /// Returns why the worker does not serve, or `None` if it serves.
    pub(crate) fn why_not(&self) -> Option<String> {
        match &*self.0.borrow() {
            ReadinessState::Waits(sentence) => Some(sentence.clone()),
            ReadinessState::Serves => None,
            ReadinessState::Stops => Some("The worker is stopping".to_owned()),
        }
    }

    fn becomes(&self, next: ReadinessState) {
        self.0.send_if_modified(|state| {
            let goes_on = !matches!(state, ReadinessState::Stops);
            if goes_on {
                *state = next;
            }
            goes_on
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_ready_only_while_it_serves_and_never_again_once_it_stops() {
        let readiness = Readiness::default();
        assert_eq!(readiness.why_not().as_deref(), Some("The worker is starting"));
        readiness.serves();
        assert_eq!(readiness.why_not(), None);
        readiness.waits("Waiting for Temporal: it no longer answers".to_owned());
        assert!(readiness.clone().why_not().unwrap().contains("Temporal"));
        readiness.serves();
        readiness.stops();
        readiness.serves();
        assert_eq!(readiness.why_not().as_deref(), Some("The worker is stopping"));
    }
}
