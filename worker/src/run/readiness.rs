//! Readiness of the worker, and the sentence that `/readyz` answers.

use tokio::sync::watch;

/// Readiness of the worker, shared by all clones.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(watch::Sender<State>);

#[derive(Debug)]
enum State {
    Waits(String),
    Serves,
    Stops,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(State::Waits("The worker is starting".to_owned())))
    }
}

impl Readiness {
    /// The worker waits; `sentence` names what for.
    pub(crate) fn waits(&self, sentence: String) {
        self.becomes(State::Waits(sentence));
    }

    /// The worker polls for work.
    pub(crate) fn serves(&self) {
        self.becomes(State::Serves);
    }

    /// The worker drains, and never becomes ready again.
    pub(crate) fn stops(&self) {
        self.becomes(State::Stops);
    }

    /// Returns why the worker does not serve, or `None` if it serves.
    pub(crate) fn why_not(&self) -> Option<String> {
        match &*self.0.borrow() {
            State::Waits(sentence) => Some(sentence.clone()),
            State::Serves => None,
            State::Stops => Some("The worker is stopping".to_owned()),
        }
    }

    fn becomes(&self, next: State) {
        self.0.send_if_modified(|state| {
            let goes_on = !matches!(state, State::Stops);
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
