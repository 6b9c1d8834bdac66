//! Counts what the steps do, for monitoring.
//!
//! No label holds an id, user, link or value: each label has a closed set of texts. All of them start at zero, so that
//! the first failure of a process is seen as a rise.

use std::time::Instant;

use export_workflows::contract::{ExpireOutput, FailureReason, Outcome};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use crate::{passes::recheck::Rechecked, source::replica::Passed};

/// From an account of one row to one of gigabytes behind a slow line.
const STEP_SECONDS: [f64; 15] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

/// A step of one request whose time is measured.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Collect, serialise and archive, which are one pass.
    Archive,
    /// Upload and read back.
    Upload,
    /// Sign, and move the row to `ready`.
    Ready,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Upload => "upload",
            Self::Ready => "ready",
        }
    }
}

/// The counters of one worker; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    reads: IntCounterVec,
    rows: IntCounter,
    bytes: IntCounter,
    expired: IntCounter,
    revoked: IntCounter,
    deleted: IntCounter,
    swept: IntCounter,
    rechecked: IntCounter,
    miscounts: IntCounter,
}

impl Metrics {
    /// Makes the counters and registers them in `registry`.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let requests = Opts::new("export_requests_total", "Requests that were served, by outcome and reason");
        let requests = IntCounterVec::new(requests, &["outcome", "reason"])?;
        registry.register(Box::new(requests.clone()))?;
        let seconds =
            HistogramOpts::new("export_step_seconds", "Seconds that a step took which came to its end")
                .buckets(STEP_SECONDS.to_vec());
        let seconds = HistogramVec::new(seconds, &["step"])?;
        registry.register(Box::new(seconds.clone()))?;
        let reads =
            Opts::new("export_reads_total", "Accounts for which there was a replica, by how that ended");
        let reads = IntCounterVec::new(reads, &["replica"])?;
        registry.register(Box::new(reads.clone()))?;
        let metrics = Self {
            requests,
            seconds,
            reads,
            rows: counter("export_rows_total", "Rows in delivered archives")?,
            bytes: counter("export_archive_bytes_total", "Bytes of delivered archives")?,
            expired: counter("export_expired_total", "Requests whose seven days were over")?,
            revoked: counter("export_revoked_total", "Delivered requests whose user is gone")?,
            deleted: counter(
                "export_archives_deleted_total",
                "Archives of failed requests that were deleted",
            )?,
            swept: counter("export_swept_total", "Objects and uploads without a request that were deleted")?,
            rechecked: counter(
                "export_rechecked_bytes_total",
                "Bytes of delivered archives that were read back and compared",
            )?,
            miscounts: counter(
                "export_miscounts_total",
                "Counts of nights that the database did not confirm",
            )?,
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    fn begin_at_zero(&self) {
        for step in [Step::Archive, Step::Upload, Step::Ready] {
            self.seconds.with_label_values(&[step.as_str()]);
        }
        for replica in Passed::ALL.into_iter().chain(["used"]) {
            self.reads.with_label_values(&[replica]);
        }
        let fulfilled = Outcome::Fulfilled { archive_bytes: 0, rows: 0 };
        for outcome in [fulfilled, Outcome::AlreadyDone, Outcome::Superseded, Outcome::GivenUpTonight] {
            self.requests.with_label_values(&labels(&outcome));
        }
        for reason in FailureReason::OF_ATTEMPTS {
            for outcome in [Outcome::Failed { reason }, Outcome::HeldBack { reason }] {
                self.requests.with_label_values(&labels(&outcome));
            }
        }
        for area in ["database", "store"] {
            self.requests.with_label_values(&labels(&Outcome::Deferred { code: area.to_owned() }));
        }
    }

    /// Counts how a request ended.
    pub fn ended(&self, outcome: &Outcome) {
        self.requests.with_label_values(&labels(outcome)).inc();
        if let Outcome::Fulfilled { archive_bytes, rows } = outcome {
            self.rows.inc_by(*rows);
            self.bytes.inc_by(*archive_bytes);
        }
    }

    /// Counts an account for which there was a replica, by the reason why it was not read there, if any.
    pub fn read(&self, passed: Option<&Passed>) {
        self.reads.with_label_values(&[passed.map_or("used", Passed::as_str)]).inc();
    }

    /// Counts what an expiry pass did.
    pub fn expired(&self, passed: &ExpireOutput) {
        self.expired.inc_by(passed.expired);
        self.revoked.inc_by(passed.revoked);
        self.deleted.inc_by(passed.deleted);
    }

    /// Counts what was read back.
    pub fn rechecked(&self, checked: &Rechecked) {
        self.rechecked.inc_by(checked.bytes);
    }

    /// Counts what a sweep deleted.
    pub fn swept(&self, objects: u64) {
        self.swept.inc_by(objects);
    }

    /// Counts the counts of a night that the database did not confirm.
    pub fn miscounted(&self, counts: usize) {
        self.miscounts.inc_by(u64::try_from(counts).unwrap_or(u64::MAX));
    }

    /// Starts to measure a step.
    pub fn begin(&self, step: Step) -> Timer {
        Timer { seconds: self.seconds.with_label_values(&[step.as_str()]), begun: Instant::now() }
    }
}

/// Measures a step that comes to its end. A step that fails drops its timer: its time says nothing about how long the
/// step takes.
#[derive(Debug)]
#[must_use]
pub struct Timer {
    seconds: Histogram,
    begun: Instant,
}

impl Timer {
    /// Records the time of a step that has come to its end.
    pub fn end(self) {
        self.seconds.observe(self.begun.elapsed().as_secs_f64());
    }
}

/// Reduces a code such as `store/SlowDown` to its area: the part after the slash may be any text of a store.
fn labels(outcome: &Outcome) -> [&str; 2] {
    match outcome {
        Outcome::Fulfilled { .. } => ["fulfilled", ""],
        Outcome::AlreadyDone => ["already_done", ""],
        Outcome::Superseded => ["superseded", ""],
        Outcome::Failed { reason } => ["failed", reason.as_str()],
        Outcome::HeldBack { reason } => ["held_back", reason.as_str()],
        Outcome::GivenUpTonight => ["given_up_tonight", ""],
        Outcome::Deferred { code } => ["deferred", code.split('/').next().unwrap_or_default()],
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn text(registry: &Registry) -> String {
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn every_outcome_is_there_from_the_start_and_rises_by_one() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let failed = r#"export_requests_total{outcome="failed",reason="unreadable_value"}"#;
        assert!(text(&registry).contains(&format!("{failed} 0\n")), "{}", text(&registry));
        metrics.ended(&Outcome::Failed { reason: FailureReason::UnreadableValue });
        metrics.ended(&Outcome::Fulfilled { archive_bytes: 70, rows: 7 });
        let text = text(&registry);
        for line in [
            &format!("{failed} 1\n"),
            "export_requests_total{outcome=\"fulfilled\",reason=\"\"} 1\n",
            "export_rows_total 7\n",
            "export_archive_bytes_total 70\n",
        ] {
            assert!(text.contains(line), "`{line}` is missing in {text}");
        }
    }

    #[test]
    fn what_a_store_answers_makes_no_label_of_its_own() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        for code in ["store/SlowDown", "store/alice@example.org", "store/404"] {
            metrics.ended(&Outcome::Deferred { code: code.to_owned() });
        }
        let text = text(&registry);
        assert!(text.contains("export_requests_total{outcome=\"deferred\",reason=\"store\"} 3\n"), "{text}");
        assert!(!text.contains("alice") && !text.contains("SlowDown"), "{text}");
    }

    #[test]
    fn only_a_step_that_came_to_its_end_is_measured() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.begin(Step::Upload).end();
        drop(metrics.begin(Step::Upload));
        let text = text(&registry);
        assert!(text.contains("export_step_seconds_count{step=\"upload\"} 1\n"), "{text}");
        assert!(text.contains("export_step_seconds_count{step=\"ready\"} 0\n"), "{text}");
    }
}
