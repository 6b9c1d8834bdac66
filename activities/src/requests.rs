//! Every statement on the queue (`data_export_requests`), its log (`data_export_events`) and its brakes.
//!
//! A move of a request is one guarded statement: it names the state that it expects. The trigger in the database writes
//! the log. Nothing here calls the store or the platform's database, and no result but one carries a link.

pub mod archives;
pub mod brake;
pub mod call;
pub mod census;
pub mod checks;
pub mod claim;
pub mod cost;
pub mod expiry;
pub mod held_back;
pub mod operate;
pub mod pending;
pub mod policy;
pub mod progress;
pub mod receipts;
pub mod register;
pub mod state;

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use crate::database::{pool::Pool, session::Kind};

/// Our calls lock and change few rows. A call that takes longer waits for another session, and is retried.
pub const CALLS: Kind = Kind::Calls { statement: Duration::from_secs(20), lock: Duration::from_secs(5) };

/// Returns what a person quotes to the support: short, and enough to find the request.
pub fn reference(id: Uuid) -> String {
    let text = id.simple().to_string().to_uppercase();
    format!("{}-{}", &text[..4], &text[4..8])
}

/// Makes a pool of at most `most` sessions that work on requests and events.
pub fn pool(options: PgConnectOptions, most: u32, acquire_timeout: Duration) -> Pool {
    Pool::new(options, CALLS, most, acquire_timeout)
}
