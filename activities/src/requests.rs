//! Every statement on the queue (`data_export_requests`), its log (`data_export_events`) and its brakes.
//!
//! A move of a request is one guarded statement: it names the state that it expects. The trigger in the database writes
//! the log. Nothing here calls the store or the platform's database, and no result but one carries a link.

pub mod archives;
pub mod brake;
pub mod call;
pub mod census;
pub mod claim;
pub mod expiry;
pub mod held_back;
pub mod operate;
pub mod pending;
pub mod state;
