//! Notices: mails to the person who asked, and webhooks to the platform.
//!
//! The database writes a notice in the transaction that moves a request. Here they are taken from that [outbox], sent, and
//! marked. Delivery is at least once: after a crash between sending and marking, a notice goes out again with the same
//! id.

mod backoff;
mod deliver;
pub mod mail;
pub mod outbox;
pub mod webhook;

pub use self::deliver::{Senders, run};
