//! Tells those who wait for an export of each change: one connection that listens and one query a second for each replica,
//! however many wait.
//!
//! The database notifies of each move of a request. Progress is asked for once a second. Every few seconds all that is
//! watched is read again, for what a lost connection or the clock has changed.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use export_activities::{database::pool::Pool, failure::judge};
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

/// Maximum number of watchers of one caller: more tabs than a person has open.
const MOST_OF_ONE: usize = 20;

/// An export that is watched.
struct Watched {
    sender: watch::Sender<Option<Arc<Record>>>,
    watchers: usize,
}

/// Everything that is watched, and by whom.
#[derive(Default)]
struct Watchers {
    exports: HashMap<Uuid, Watched>,
    callers: HashMap<String, usize>,
    total: usize,
}

/// Who waits for what.
pub(crate) struct Live {
    watched: Mutex<Watchers>,
    /// Held from a read to its publication, so that an older state never follows a newer one.
    reading: tokio::sync::Mutex<()>,
    /// Changes when everybody is sent away.
    dismissed: watch::Sender<u64>,
    /// Notifications arrive.
    hears: AtomicBool,
}

/// Waits for the changes of one export.
pub(crate) struct Watcher {
    live: Arc<Live>,
    id: Uuid,
    caller: String,
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
        let mut all = self.live.lock();
        all.total -= 1;
        if let Entry::Occupied(mut export) = all.exports.entry(self.id) {
            export.get_mut().watchers -= 1;
            if export.get().watchers == 0 {
                export.remove();
            }
        }
        if let Entry::Occupied(mut caller) = all.callers.entry(std::mem::take(&mut self.caller)) {
            *caller.get_mut() -= 1;
            if *caller.get() == 0 {
                caller.remove();
            }
        }
    }
}

impl Live {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            watched: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            dismissed: watch::Sender::new(0),
            hears: AtomicBool::new(false),
        })
    }

    /// Watches an export from now on; `None` when there are too many watchers, or too many of this caller. Read the export
    /// after this call.
    pub(crate) fn watch(self: &Arc<Self>, id: Uuid, caller: String) -> Option<Watcher> {
        let mut all = self.lock();
        if all.total >= MOST || all.callers.get(&caller).is_some_and(|watchers| *watchers >= MOST_OF_ONE) {
            return None;
        }
        all.total += 1;
        *all.callers.entry(caller.clone()).or_default() += 1;
        let export = all.exports.entry(id);
        let export = export.or_insert_with(|| Watched { sender: watch::Sender::new(None), watchers: 0 });
        export.watchers += 1;
        let (changes, dismissed) = (export.sender.subscribe(), self.dismissed.subscribe());
        drop(all);
        Some(Watcher { live: Arc::clone(self), id, caller, changes, dismissed })
    }

    /// Returns whether notifications arrive.
    pub(crate) fn hears(&self) -> bool {
        self.hears.load(Relaxed)
    }

    /// Sends everybody away. They come back, to this replica or to another.
    pub(crate) fn dismiss(&self) {
        self.dismissed.send_modify(|count| *count += 1);
    }

    /// Tells the watchers of each record that has changed.
    fn publish(&self, records: Vec<Record>) {
        let all = self.lock();
        for record in records {
            if let Some(export) = all.exports.get(&record.id) {
                export.sender.send_if_modified(|last| {
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
        let all = self.lock();
        ids.into_iter().filter(|id| all.exports.contains_key(id)).collect()
    }

    fn all(&self) -> Vec<Uuid> {
        self.lock().exports.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Watchers> {
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
            self.hears.store(false, Relaxed);
            sleep(AGAIN_DEAF).await;
        }
    }

    async fn hear(&self, database: &Pool) -> sqlx::Result<()> {
        let mut listener = database.listen("data_export").await?;
        self.hears.store(true, Relaxed);
        loop {
            let Some(first) = listener.try_recv().await? else { return Err(sqlx::Error::PoolClosed) };
            let mut ids: HashSet<Uuid> = id_of(first.payload()).into_iter().collect();
            // A night ends many at once: all that has arrived is read together.
            while ids.len() < BATCH {
                let Some(next) = listener.next_buffered() else { break };
                ids.extend(id_of(next.payload()));
            }
            let ids = self.watched_of(ids);
            self.read(database, &ids).await?;
        }
    }

    /// Reads exports and tells their watchers.
    async fn read(&self, database: &Pool, ids: &[Uuid]) -> sqlx::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let _alone = self.reading.lock().await;
        self.publish(records::read_all(database, ids).await?);
        Ok(())
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
        self.read(database, &ids).await
    }

    async fn read_again(&self, database: &Pool, all: &[Uuid]) -> sqlx::Result<()> {
        for ids in all.chunks(BATCH) {
            self.read(database, ids).await?;
        }
        Ok(())
    }
}

/// The payload is `<id> <status>`.
fn id_of(payload: &str) -> Option<Uuid> {
    Uuid::try_parse(payload.split(' ').next()?).ok()
}
