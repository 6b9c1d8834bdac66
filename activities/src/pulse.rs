//! Shared by an attempt and its steps: the order to stop, and a count of what moved.

use std::sync::{
    Arc,
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
}

impl Pulse {
    /// Makes a pulse that stops when `cancelled` is cancelled.
    pub fn new(cancelled: CancellationToken) -> Self {
        Self { cancelled, moved: Arc::default() }
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
