//! Tells those who wait for an export of each change: one connection that listens and one query a second for each replica,
//! however many wait.
//!
//! The database notifies of each move of a request. Progress is asked for once a second. Every few seconds all that is
//! watched is read again, for what a lost connection or the clock has changed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use export_activities::{database::pool::Pool, failure::judge};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::records::{self, Record};

/// Maximum number of watchers of one replica; each takes a few kilobytes.
const MOST: usize = 20_000;
/// Between two questions for progress.
const PROGRESS: Duration = Duration::from_secs(1);
/// Between two readings of all that is watched; shorter while no notification can arrive.
const AGAIN: Duration = Duration::from_secs(15);
const AGAIN_DEAF: Duration = Duration::from_secs(2);
/// Exports that are read in one statement.
const BATCH: usize = 1000;
/// How long the database may be away before those who wait are sent away, to ask another replica.
const AWAY: Duration = Duration::from_secs(10);

type Watched = watch::Sender<Option<Arc<Record>>>;

/// Who waits for what.
pub(crate) struct Live {
    watched: Mutex<HashMap<Uuid, Watched>>,
    /// Changes when everybody is sent away.
    dismissed: watch::Sender<u64>,
    /// No notification arrives at the moment.
    deaf: watch::Sender<bool>,
}

/// Waits for the changes of one export.
pub(crate) struct Watcher {
    live: Arc<Live>,
    id: Uuid,
    changes: watch::Receiver<Option<Arc<Record>>>,
    dismissed: watch::Receiver<u64>,
}

impl Watcher {
    /// Waits for the next change; `None` when those who wait are sent away.
    pub(crate) async fn next(&mut self) -> Option<Arc<Record>> {
        loop {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                _ = self.dismissed.changed() => return None,
            }
            if let Some(record) = self.changes.borrow_and_update().clone() {
                return Some(record);
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut watched = self.live.lock();
        // This one still counts.
        if watched.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.id);
        }
    }
}

impl Live {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            watched: Mutex::default(),
            dismissed: watch::Sender::new(0),
            deaf: watch::Sender::new(true),
        })
    }

    /// Watches an export from now on; `None` when too many are watched. Read the export after this call.
    pub(crate) fn watch(self: &Arc<Self>, id: Uuid) -> Option<Watcher> {
        let mut watched = self.lock();
        if self.dismissed.receiver_count() >= MOST {
            return None;
        }
        let sender = watched.entry(id).or_insert_with(|| watch::Sender::new(None));
        let (changes, dismissed) = (sender.subscribe(), self.dismissed.subscribe());
        drop(watched);
        Some(Watcher { live: Arc::clone(self), id, changes, dismissed })
    }

    /// Returns whether notifications arrive.
    pub(crate) fn hears(&self) -> bool {
        !*self.deaf.borrow()
    }

    /// Sends everybody away. They come back, to this replica or to another.
    pub(crate) fn dismiss(&self) {
        self.dismissed.send_modify(|count| *count += 1);
    }

    /// Tells the watchers of each record that has changed.
    fn publish(&self, records: Vec<Record>) {
        let watched = self.lock();
        for record in records {
            if let Some(sender) = watched.get(&record.id) {
                sender.send_if_modified(|last| {
                    let is_new = last.as_deref() != Some(&record);
                    if is_new {
                        *last = Some(Arc::new(record));
                    }
                    is_new
                });
            }
        }
    }

    fn watched_of(&self, ids: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
        let watched = self.lock();
        ids.into_iter().filter(|id| watched.contains_key(id)).collect()
    }

    fn all(&self) -> Vec<Uuid> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves those who wait until `stop`, then sends them away.
    pub(crate) async fn run(self: Arc<Self>, database: Pool, stop: CancellationToken) {
        tokio::select! {
            () = self.listen(&database) => {}
            () = self.ask(&database) => {}
            () = stop.cancelled() => {}
        }
        self.dismiss();
    }

    /// Reads each export of which the database notifies. Connects again when the connection is lost.
    async fn listen(&self, database: &Pool) {
        loop {
            if let Err(error) = self.hear(database).await {
                tracing::warn!(
                    error.chain = %judge(&error.into()),
                    "No notifications of the database arrive; exports are read every {} s until they do",
                    AGAIN_DEAF.as_secs()
                );
            }
            self.deaf.send_replace(true);
            sleep(AGAIN_DEAF).await;
        }
    }

    async fn hear(&self, database: &Pool) -> sqlx::Result<()> {
        let options = database.connect_options().clone();
        let one = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&one).await?;
        listener.listen("data_export").await?;
        self.deaf.send_replace(false);
        loop {
            let Some(first) = listener.try_recv().await? else { return Err(sqlx::Error::PoolClosed) };
            let mut ids: HashSet<Uuid> = id_of(first.payload()).into_iter().collect();
            // A night ends many at once: all that has arrived is read together.
            while ids.len() < BATCH {
                let Some(next) = listener.next_buffered() else { break };
                ids.extend(id_of(next.payload()));
            }
            let ids = self.watched_of(ids);
            if !ids.is_empty() {
                self.publish(records::read_all(database, &ids).await?);
            }
        }
    }

    /// Asks for progress, and reads everything again from time to time.
    async fn ask(&self, database: &Pool) {
        let mut ticks = interval(PROGRESS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read_at = tokio::time::Instant::now();
        let mut answered_at = read_at;
        loop {
            ticks.tick().await;
            let all = self.all();
            if all.is_empty() {
                answered_at = tokio::time::Instant::now();
                continue;
            }
            let again = if self.hears() { AGAIN } else { AGAIN_DEAF };
            let asked = if read_at.elapsed() >= again {
                read_at = tokio::time::Instant::now();
                self.read_again(database, &all).await
            } else {
                self.read_progress(database).await
            };
            match asked {
                Ok(()) => answered_at = tokio::time::Instant::now(),
                Err(error) => {
                    tracing::debug!(error.chain = %judge(&error.into()), "The database did not answer");
                    if answered_at.elapsed() >= AWAY {
                        self.dismiss();
                        answered_at = tokio::time::Instant::now();
                    }
                }
            }
        }
    }

    async fn read_progress(&self, database: &Pool) -> sqlx::Result<()> {
        let ids = self.watched_of(records::reporting(database).await?);
        if !ids.is_empty() {
            self.publish(records::read_all(database, &ids).await?);
        }
        Ok(())
    }

    async fn read_again(&self, database: &Pool, all: &[Uuid]) -> sqlx::Result<()> {
        for ids in all.chunks(BATCH) {
            self.publish(records::read_all(database, ids).await?);
        }
        Ok(())
    }
}

/// The payload is `<id> <status>`.
fn id_of(payload: &str) -> Option<Uuid> {
    Uuid::try_parse(payload.split(' ').next()?).ok()
}
