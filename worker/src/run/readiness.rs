//! Whether the worker serves, in one sentence: what `/readyz` answers.

use tokio::sync::watch;

/// How the worker stands; every clone tells the same.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(watch::Sender<Standing>);

#[derive(Debug)]
enum Standing {
    Waits(String),
    Serves,
    Stops,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(Standing::Waits("The worker is starting".to_owned())))
    }
}

impl Readiness {
    /// It waits for something, as the sentence says.
    pub(crate) fn waits(&self, sentence: String) {
        self.becomes(Standing::Waits(sentence));
    }

    /// It polls for work.
    pub(crate) fn serves(&self) {
        self.becomes(Standing::Serves);
    }

    /// It drains; nothing makes it ready again.
    pub(crate) fn stops(&self) {
        self.becomes(Standing::Stops);
    }

    /// Says why it does not serve; `None` when it does.
    pub(crate) fn why_not(&self) -> Option<String> {
        match &*self.0.borrow() {
            Standing::Waits(sentence) => Some(sentence.clone()),
            Standing::Serves => None,
            Standing::Stops => Some("The worker is stopping".to_owned()),
        }
    }

    fn becomes(&self, next: Standing) {
        self.0.send_if_modified(|standing| {
            let goes_on = !matches!(standing, Standing::Stops);
            if goes_on {
                *standing = next;
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
