//! Shared by an attempt and its steps: the order to stop, a count of what moved, and how far the attempt is.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// The pulse of one attempt: cheap to clone, read by the ticker, beaten by the steps.
///
/// A step calls [`beat`](Self::beat) for each row or block of bytes that moved and stops when
/// [`is_cancelled`](Self::is_cancelled) returns true. The pulse knows nothing of Temporal.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    cancelled: CancellationToken,
    moved: Arc<AtomicU64>,
    progress: Arc<Progress>,
}

/// How far an attempt is, for the person who waits.
#[derive(Debug, Default)]
struct Progress {
    /// Rows of the entity that is being read.
    rows: AtomicU64,
    /// Rows of the entities that were read, in their order.
    read: Mutex<Vec<u64>>,
    /// Bytes of the archive that are in the store.
    sent: AtomicU64,
    /// Size of the archive; 0 until it is made.
    to_send: AtomicU64,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It reads: rows by entity, in their order, the one that is being read last.
    Reading(Vec<u64>),
    /// It uploads.
    Uploading {
        /// Rows by entity.
        rows: Vec<u64>,
        /// Bytes in the store.
        sent: u64,
        /// Bytes of the archive.
        total: u64,
    },
}

impl Pulse {
    /// Makes a pulse that stops when `cancelled` is cancelled.
    pub fn new(cancelled: CancellationToken) -> Self {
        Self { cancelled, moved: Arc::default(), progress: Arc::default() }
    }

    /// Makes a pulse that stops with its parent, or alone, and counts separately.
    pub fn child_of(parent: &Self) -> Self {
        Self::new(parent.cancelled.child_token())
    }

    /// Reports that `amount` rows or bytes moved. The unit does not matter, only that the count changes.
    pub fn beat(&self, amount: u64) {
        self.moved.fetch_add(amount, Ordering::Relaxed);
    }

    /// Returns how much has moved so far.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Reports that reading begins, also from the start after a replica failed.
    pub fn begin_reading(&self) {
        self.progress.rows.store(0, Ordering::Relaxed);
        self.progress.read.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Reports that a row of the current entity was read.
    pub fn row_read(&self) {
        self.progress.rows.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports that all rows of the current entity were read.
    pub fn entity_read(&self) {
        let rows = self.progress.rows.swap(0, Ordering::Relaxed);
        self.progress.read.lock().unwrap_or_else(PoisonError::into_inner).push(rows);
    }

    /// Reports that the archive is made, and is uploaded now.
    pub fn begin_upload(&self, bytes: u64) {
        self.progress.to_send.store(bytes, Ordering::Relaxed);
    }

    /// Reports that a part of the archive is in the store.
    pub fn sent(&self, bytes: u64) {
        self.progress.sent.fetch_add(bytes, Ordering::Relaxed);
        self.beat(bytes);
    }

    /// Returns how far the attempt is.
    pub fn reached(&self) -> Reached {
        let mut rows = self.progress.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let total = self.progress.to_send.load(Ordering::Relaxed);
        if total == 0 {
            rows.push(self.progress.rows.load(Ordering::Relaxed));
            return Reached::Reading(rows);
        }
        Reached::Uploading { rows, sent: self.progress.sent.load(Ordering::Relaxed).min(total), total }
    }

    /// Returns whether the attempt is cancelled: a blocking thread then stops at its next block.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// Fails with [`Failure::Interrupted`] if the attempt is cancelled.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_cancelled() { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Waits until the attempt is cancelled.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Stops the attempt.
    pub fn cancel(&self) {
        self.cancelled.cancel();
    }
}
