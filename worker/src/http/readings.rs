//! Values that are read at each request for the metrics: the queue, the catalogue's drift, schedules and pollers.
//!
//! Each is cached for a fixed time, however many clients ask, is read over a separate connection, and has a short time
//! limit. A value that cannot be read is absent: people would believe an old or invented number.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use export_activities::{
    catalogue::{Catalogue, FindingKind},
    database::pool::Pool,
    failure::judge,
    requests::{
        brake::{self, Held, Pass},
        census::{self, Queue},
        checks::{self, Damaged},
        held_back,
    },
    spool::Spool,
};
use export_notices::outbox::{self, ChannelStatus};
use export_workflows::contract::FailureReason;
use prometheus::{Gauge, GaugeVec, Opts, Registry};
use sqlx::Connection as _;
use temporalio_client::Client;
use tokio::sync::{Mutex, watch};

use crate::{
    connect,
    temporal::{
        night::{self, Pollers},
        schedule::{self, ScheduleStatus},
    },
};

/// Maximum age of the counts of the queue: a usual scrape interval. The cost of the statement grows with the counts.
const QUEUE_KEEPS: Duration = Duration::from_secs(15);
/// Maximum age of schedules and pollers. The server itself forgets a poller only after five minutes.
const TEMPORAL_KEEPS: Duration = Duration::from_secs(30);
/// Maximum age of the comparison with the catalogue. It changes only with a migration of the platform.
const DRIFT_KEEPS: Duration = Duration::from_secs(300);
/// Time limit of one reading, including its connection. Less than the usual scrape timeout (10 s).
const WITHIN: Duration = Duration::from_secs(3);

/// Reads and caches the values, and returns them as gauges.
pub(crate) struct Readings {
    state: Pool,
    source: Pool,
    catalogue: Arc<Catalogue>,
    task_queue: String,
    client: watch::Sender<Option<Client>>,
    queue: Cached<QueueReading>,
    drift: Cached<Drift>,
    temporal: Cached<TemporalReading>,
}

/// Requests that are held back, by reason.
type HeldBack = Vec<(FailureReason, i64)>;

/// What the database of requests says.
#[derive(Clone)]
struct QueueReading {
    queue: Queue,
    held: Vec<Held>,
    damaged: Damaged,
    held_back: HeldBack,
    notices: Vec<ChannelStatus>,
}

/// Number of columns in which database and catalogue differ.
#[derive(Clone, Copy)]
struct Drift {
    unclassified: usize,
    misfits: usize,
}

#[derive(Clone)]
struct TemporalReading {
    schedules: Arc<[ScheduleStatus]>,
    pollers: Pollers,
}

impl Readings {
    /// Creates the readings. Reads nothing yet.
    pub(crate) fn new(state: Pool, source: Pool, catalogue: Arc<Catalogue>, task_queue: String) -> Self {
        Self {
            state,
            source,
            catalogue,
            task_queue,
            client: watch::Sender::new(None),
            queue: Cached::new("the queue", QUEUE_KEEPS),
            drift: Cached::new("the catalogue's drift", DRIFT_KEEPS),
            temporal: Cached::new("schedules and pollers", TEMPORAL_KEEPS),
        }
    }

    /// Uses this connection to read schedules and pollers from now on.
    pub(crate) fn connected(&self, client: &Client) {
        self.client.send_replace(Some(client.clone()));
    }

    /// Returns a registry with only the values that can be read now.
    pub(crate) async fn gauges(&self, spool: &Spool) -> Result<Registry> {
        let (queue, drift, temporal) = tokio::join!(
            self.queue.get(read_queue(&self.state)),
            self.drift.get(read_drift(&self.source, &self.catalogue)),
            self.temporal(),
        );
        let gauges = Gauges(Registry::new());
        gauges.spool(spool)?;
        if let Some(QueueReading { queue, held, damaged, held_back, notices }) = queue {
            gauges.queue(&queue)?;
            gauges.brakes(&held)?;
            gauges.set(
                "export_damaged_archives",
                "Archives of ready requests that are missing, or not as they were delivered",
                damaged.count as f64,
            )?;
            gauges.held_back(&held_back)?;
            gauges.notices(&notices)?;
        }
        if let Some(drift) = drift {
            gauges.drift(drift)?;
        }
        if let Some(temporal) = temporal {
            gauges.temporal(&temporal)?;
        }
        Ok(gauges.0)
    }

    async fn temporal(&self) -> Option<TemporalReading> {
        let client = self.client.borrow().clone()?;
        self.temporal.get(read_temporal(&client, &self.task_queue)).await
    }
}

/// Does not use the pool: a scrape must not wait behind exports, nor return a connection in mid-statement to them.
async fn read_queue(state: &Pool) -> Result<QueueReading> {
    let mut connection = connect::glance(state).await?;
    let queue = census::queue(&mut connection).await?;
    let held = brake::held(&mut connection).await?;
    let damaged = checks::damaged(&mut connection).await?;
    let held_back = held_back::counts(&mut connection).await?;
    let notices = outbox::channels(&mut connection).await?;
    connection.close().await?;
    Ok(QueueReading { queue, held, damaged, held_back, notices })
}

async fn read_drift(source: &Pool, catalogue: &Catalogue) -> Result<Drift> {
    let mut connection = connect::glance(source).await?;
    let report = catalogue.report(&mut connection).await?;
    connection.close().await?;
    let count = |differs: &dyn Fn(FindingKind) -> bool| {
        report.findings.iter().filter(|finding| differs(finding.kind)).count()
    };
    Ok(Drift {
        unclassified: count(&|kind| {
            matches!(kind, FindingKind::UnclassifiedColumn | FindingKind::HiddenColumn)
        }),
        misfits: count(&FindingKind::stops_exports),
    })
}

async fn read_temporal(client: &Client, task_queue: &str) -> Result<TemporalReading> {
    let (schedules, pollers) =
        tokio::try_join!(schedule::show(client, task_queue), night::pollers(client, task_queue))?;
    Ok(TemporalReading { schedules: schedules.into(), pollers })
}

/// A cached reading. A failed one is cached too, so that a server in trouble gets no extra load.
struct Cached<T> {
    what: &'static str,
    keeps: Duration,
    within: Duration,
    last: Mutex<Option<(Instant, Option<T>)>>,
}

impl<T: Clone> Cached<T> {
    fn new(what: &'static str, keeps: Duration) -> Self {
        Self { what, keeps, within: WITHIN, last: Mutex::new(None) }
    }

    /// Returns the cached reading, or reads. Concurrent callers wait for the same reading.
    async fn get(&self, read: impl Future<Output = Result<T>>) -> Option<T> {
        let mut last = self.last.lock().await;
        if let Some((at, value)) = &*last
            && at.elapsed() < self.keeps
        {
            return value.clone();
        }
        let value = match tokio::time::timeout(self.within, read).await {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                tracing::debug!(error.chain = %judge(&error), "Could not read {} for the metrics", self.what);
                None
            }
            Err(_) => {
                tracing::debug!("Could not read {} for the metrics in time", self.what);
                None
            }
        };
        *last = Some((Instant::now(), value.clone()));
        value
    }
}

/// The gauges of one answer.
struct Gauges(Registry);

impl Gauges {
    fn spool(&self, spool: &Spool) -> prometheus::Result<()> {
        self.set("export_spool_bytes", "Bytes that archives take in the spool", spool.used() as f64)?;
        self.set("export_spool_quota_bytes", "Bytes that they may take", spool.quota() as f64)
    }

    fn queue(&self, queue: &Queue) -> prometheus::Result<()> {
        self.set("export_pending_requests", "Requests that wait for a night", queue.pending as f64)?;
        self.set(
            "export_oldest_pending_seconds",
            "How long the oldest pending request has waited; 0 when none waits",
            queue.oldest_pending_seconds() as f64,
        )?;
        self.set(
            "export_oldest_unanswered_seconds",
            "How long the oldest request without an answer has waited, a failed one included; 0 when none waits",
            queue.oldest_unanswered_seconds() as f64,
        )?;
        self.set("export_ready_requests", "Requests whose row says ready", queue.ready as f64)?;
        self.set(
            "export_overdue_seconds",
            "For how long the oldest ready request should have been expired; 0 when none should",
            queue.overdue_seconds() as f64,
        )?;
        self.set(
            "export_deletions_left",
            "Archives of failed requests that are still in the store",
            queue.deletions_left as f64,
        )?;
        self.set(
            "export_undeleted_seconds",
            "For how long the oldest of those should have been deleted; 0 when there is none",
            queue.undeleted_seconds() as f64,
        )
    }

    fn held_back(&self, held_back: &HeldBack) -> prometheus::Result<()> {
        let gauges = self.labelled(
            "export_held_back_requests",
            "Pending requests that wait for a person, because too many of a night would fail",
            "reason",
        )?;
        for reason in FailureReason::OF_ATTEMPTS {
            let count = held_back.iter().find(|(of, _)| *of == reason).map_or(0, |(_, count)| *count);
            gauges.with_label_values(&[reason.as_str()]).set(count as f64);
        }
        Ok(())
    }

    fn notices(&self, channels: &[ChannelStatus]) -> prometheus::Result<()> {
        let due = self.labelled(
            "export_notices_oldest_due_seconds",
            "For how long the oldest notice has been due; 0 when none is",
            "channel",
        )?;
        let dead = self.labelled("export_notices_dead", "Notices that were given up", "channel")?;
        let paused =
            self.labelled("export_notices_paused", "1 while a person has to fix something", "channel")?;
        for channel in channels {
            let label = &[channel.channel.as_str()];
            due.with_label_values(label).set(channel.oldest_due_seconds as f64);
            dead.with_label_values(label).set(channel.dead as f64);
            paused.with_label_values(label).set(f64::from(channel.paused_at.is_some()));
        }
        Ok(())
    }

    fn brakes(&self, held: &[Held]) -> prometheus::Result<()> {
        let gauge = self.labelled("export_brake_holds", "1 while a pass waits for a person", "brake")?;
        for pass in Pass::ALL {
            let holds = held.iter().any(|held| held.brake == pass.as_str());
            gauge.with_label_values(&[pass.as_str()]).set(f64::from(holds));
        }
        Ok(())
    }

    fn drift(&self, drift: Drift) -> prometheus::Result<()> {
        self.set(
            "export_unclassified_columns",
            "Columns without a decision, which are not exported",
            drift.unclassified as f64,
        )?;
        self.set(
            "export_catalogue_misfits",
            "Differences between catalogue and database that stop a night",
            drift.misfits as f64,
        )
    }

    fn temporal(&self, temporal: &TemporalReading) -> prometheus::Result<()> {
        let defined = self.labelled(
            "export_schedule_as_defined",
            "1 when it is as `schedule apply` makes it",
            "schedule",
        )?;
        let paused =
            self.labelled("export_schedule_paused", "1 when an operator has paused it", "schedule")?;
        let last = self.labelled(
            "export_schedule_last_start_seconds",
            "When it last started a run, in seconds since 1970",
            "schedule",
        )?;
        for schedule in &*temporal.schedules {
            let label = &[schedule.id.as_str()];
            defined.with_label_values(label).set(f64::from(schedule.as_defined));
            paused.with_label_values(label).set(f64::from(schedule.paused));
            if let Some(at) = schedule.last {
                last.with_label_values(label).set(at.timestamp() as f64);
            }
        }
        let pollers =
            self.labelled("export_pollers", "Workers that ask for work, as the server knows them", "queue")?;
        pollers.with_label_values(&["exports"]).set(temporal.pollers.exports as f64);
        pollers.with_label_values(&["passes"]).set(temporal.pollers.passes as f64);
        Ok(())
    }

    fn set(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.0.register(Box::new(gauge))
    }

    fn labelled(&self, name: &str, help: &str, label: &str) -> prometheus::Result<GaugeVec> {
        let gauges = GaugeVec::new(Opts::new(name, help), &[label])?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_reading_is_taken_once_in_its_time_however_many_ask() {
        let kept = Cached::new("x", HOUR);
        assert_eq!(kept.get(async { Ok(1) }).await, Some(1));
        assert_eq!(kept.get(async { Ok(2) }).await, Some(1));
        let old = Cached::new("x", Duration::ZERO);
        assert_eq!(old.get(async { Ok(1) }).await, Some(1));
        assert_eq!(old.get(async { Ok(2) }).await, Some(2));
    }

    #[tokio::test]
    async fn a_server_in_trouble_is_not_asked_the_more_and_what_it_said_before_is_forgotten() {
        let mut kept = Cached::new("x", Duration::ZERO);
        assert_eq!(kept.get(async { Ok(1) }).await, Some(1));
        kept.keeps = HOUR;
        *kept.last.get_mut() = None;
        assert_eq!(kept.get(async { anyhow::bail!("away") }).await, None);
        assert_eq!(kept.get(async { Ok(2) }).await, None);
    }

    #[tokio::test]
    async fn a_reading_that_hangs_is_given_up_and_absent() {
        let mut kept = Cached::<i32>::new("x", HOUR);
        kept.within = Duration::from_millis(5);
        assert_eq!(kept.get(std::future::pending()).await, None);
    }
}
