//! The status of the system at a glance, and the troubles that need a person.
//!
//! A server that does not answer is such a trouble; the rest is reported anyway.

mod judge;

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use chrono::{DateTime, Utc};
use export_activities::requests::{
    brake::{self, Held},
    census::{self, Queue},
    checks::{self, Damaged},
    held_back,
};
use export_notices::outbox::{self, ChannelStatus};
use export_workflows::contract::NIGHTLY_BATCH;
use serde::Serialize;
use sqlx::Connection as _;

use crate::{
    config::Config,
    connect::{
        self,
        explain::{self, Explained},
    },
    temporal::{
        night::{self, Last, Pollers},
        schedule::{self, ScheduleStatus},
    },
};

/// Time limit of the database and of Temporal, each. A command answers within 30 s.
const PART_WITHIN: Duration = Duration::from_secs(15);

/// The status of the system.
#[derive(Debug, Serialize)]
pub struct SystemStatus {
    /// Nothing needs a person.
    pub well: bool,
    /// The requests; `None` if the database does not answer.
    pub requests: Option<Requests>,
    /// Times of the nights; `None` if Temporal does not answer, as are the next two fields.
    pub nights: Option<Nights>,
    /// Both schedules.
    pub schedules: Option<Vec<ScheduleStatus>>,
    /// The workers that poll.
    pub pollers: Option<Pollers>,
    /// Troubles that need a person.
    pub troubles: Vec<Explained>,
}

/// The requests by state.
#[derive(Debug, Serialize)]
pub struct Requests {
    /// The queue.
    #[serde(flatten)]
    pub queue: Queue,
    /// Age of its oldest request.
    pub oldest_pending_seconds: i64,
    /// Age of the oldest request without an answer, a failed one included.
    pub oldest_unanswered_seconds: i64,
    /// Days that are left of the month that the law allows for that request; negative afterwards.
    pub days_left: Option<i64>,
    /// Time since the oldest overdue request became overdue.
    pub overdue_seconds: i64,
    /// Age of the oldest pending deletion of a failed request's archive.
    pub undeleted_seconds: i64,
    /// Failed requests by reason.
    pub failed: BTreeMap<String, i64>,
    /// Pending requests that wait for a person because too many of a night would fail, by reason.
    pub held_back: BTreeMap<String, i64>,
    /// Pending requests that a system fault deferred in two nights or more.
    pub deferred_twice: i64,
    /// Passes that stopped before they deleted or failed unusually much, and wait for a person.
    pub held: Vec<Held>,
    /// Delivered archives that are missing, or not as they were delivered.
    pub damaged: Damaged,
    /// The channels of notices.
    pub notices: Vec<ChannelStatus>,
}

/// The nights that the schedule started and will start.
#[derive(Debug, Serialize)]
pub struct Nights {
    /// Start of the last night.
    pub last: Option<DateTime<Utc>>,
    /// Start of the next night; `None` while the schedule is paused.
    pub next: Option<DateTime<Utc>>,
}

/// Reads the status from our database, from the source and from Temporal. Each may be unreachable.
pub async fn read(config: &Config) -> Result<SystemStatus> {
    // A missing variable is a mistake of the caller, not a trouble to report.
    config.database_url()?;
    let parts = (in_time(requests(config)), in_time(temporal(config)), in_time(misfits(config)));
    let (requests, temporal, misfits) = tokio::join!(parts.0, parts.1, parts.2);
    let mut troubles = Vec::new();
    let requests =
        requests.map_err(|error| troubles.push(explain::database(&error, "EXPORT_DATABASE_URL"))).ok();
    if let Some(requests) = &requests {
        troubles.extend(judge::requests(requests));
    }
    match misfits {
        Ok(misfits) => troubles.extend(judge::misfits(&misfits)),
        Err(error) => troubles.push(explain::database(&error, "EXPORT_SOURCE_URL")),
    }
    let temporal = temporal.map_err(|error| troubles.push(explain::temporal(&error))).ok();
    if let Some(TemporalStatus { schedules, pollers, last }) = &temporal {
        troubles.extend(schedules.iter().filter_map(ScheduleStatus::trouble));
        troubles.extend(judge::pollers(config, *pollers));
        troubles.extend(last.as_ref().and_then(judge::night));
        troubles.extend(last.as_ref().and_then(judge::counts));
    }
    let (schedules, pollers) = temporal.map(|temporal| (temporal.schedules, temporal.pollers)).unzip();
    let night = schedules.iter().flatten().find(|state| state.id == NIGHTLY_BATCH);
    let nights = night.map(|state| Nights { last: state.last, next: state.next });
    Ok(SystemStatus { well: troubles.is_empty(), requests, nights, schedules, pollers, troubles })
}

/// Waits for one of the parts. If it times out, the others are still reported.
fn in_time<T>(part: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
    // Boxed at once: these futures are large.
    let part = Box::pin(part);
    async move {
        match tokio::time::timeout(PART_WITHIN, part).await {
            Ok(answer) => answer,
            Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()),
        }
    }
}

async fn requests(config: &Config) -> Result<Requests> {
    let mut connection = connect::once(&connect::state(config)?).await?;
    let queue = census::queue(&mut connection).await?;
    let failed = census::failed(&mut connection).await?;
    let held_back = held_back::counts(&mut connection).await?;
    let deferred_twice = held_back::deferred_twice(&mut connection).await?;
    let held = brake::held(&mut connection).await?;
    let damaged = checks::damaged(&mut connection).await?;
    let notices = outbox::channels(&mut connection).await?;
    connection.close().await?;
    Ok(Requests {
        undeleted_seconds: queue.undeleted_seconds(),
        held,
        damaged,
        oldest_pending_seconds: queue.oldest_pending_seconds(),
        oldest_unanswered_seconds: queue.oldest_unanswered_seconds(),
        days_left: queue.days_left(),
        overdue_seconds: queue.overdue_seconds(),
        queue,
        failed,
        held_back: held_back.into_iter().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
        deferred_twice,
        notices,
    })
}

/// Compares the catalogue with the source, and returns what would stop the next night.
async fn misfits(config: &Config) -> Result<Vec<String>> {
    let catalogue = connect::catalogue(config)?;
    let mut connection = connect::glance(&connect::source(config)?).await?;
    let report = catalogue.report(&mut connection).await?;
    connection.close().await?;
    let stops = report.findings.iter().filter(|finding| finding.kind.stops_exports());
    Ok(stops.map(ToString::to_string).collect())
}

async fn temporal(config: &Config) -> Result<TemporalStatus> {
    let client = connect::temporal(config).await?;
    let (schedules, pollers, last) = tokio::try_join!(
        schedule::show(&client, &config.task_queue),
        night::pollers(&client, &config.task_queue),
        night::last(&client),
    )?;
    Ok(TemporalStatus { schedules, pollers, last })
}

struct TemporalStatus {
    schedules: Vec<ScheduleStatus>,
    pollers: Pollers,
    last: Option<Last>,
}

/// Shows an age in its two largest units.
pub(crate) fn show_age(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
