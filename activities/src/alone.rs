//! Keeps a request that may kill its worker apart from other requests of this worker.
//!
//! When a worker is killed, every request that it held comes back at once, and together. So a request that kills its
//! worker would kill its neighbours too, until they all reach `EXPORT_MAX_LOST`. A request that has lost [`SUSPECT`]
//! workers is therefore tried alone: it starts when nothing else is in flight in this process, and while it runs
//! nothing else starts. Nothing here waits: an attempt that may not start comes back later and takes no slot meanwhile.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Workers lost over a request from which it is tried alone. One may be a deploy, or a neighbour's fault.
pub const SUSPECT: u32 = 2;

/// The attempts in flight in this process; all clones share them.
#[derive(Clone, Debug, Default)]
pub struct Alone(Arc<RwLock<()>>);

/// Keeps others from running alone, or from running at all, until it is dropped.
#[derive(Debug)]
pub struct InFlight(
    #[expect(dead_code, reason = "held for its end")]
    Result<OwnedRwLockReadGuard<()>, OwnedRwLockWriteGuard<()>>,
);

impl Alone {
    /// Starts an attempt beside others; `None` while one runs alone.
    pub fn beside(&self) -> Option<InFlight> {
        Arc::clone(&self.0).try_read_owned().ok().map(Ok).map(InFlight)
    }

    /// Starts an attempt alone; `None` while anything else is in flight.
    pub fn alone(&self) -> Option<InFlight> {
        Arc::clone(&self.0).try_write_owned().ok().map(Err).map(InFlight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_run_beside_each_other_and_a_suspect_runs_alone() {
        let alone = Alone::default();
        let (one, two) = (alone.beside(), alone.clone().beside());
        assert!(one.is_some() && two.is_some());
        assert!(alone.alone().is_none(), "two are in flight");
        drop((one, two));
        let suspect = alone.alone();
        assert!(suspect.is_some());
        assert!(alone.beside().is_none() && alone.alone().is_none(), "nothing begins beside it");
        drop(suspect);
        assert!(alone.beside().is_some());
    }
}
