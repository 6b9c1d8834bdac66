//! Works on all requests at once: `ready -> failed` for overdue requests and gone accounts, the sweep of orphaned
//! objects, and the check of those that were delivered.
//!
//! A pass deletes an object only in a bucket that holds the mark of this installation. It never uploads, and never reads
//! a row of an account.

pub mod buckets;
pub mod expire;
pub mod recheck;
pub mod sweep;
