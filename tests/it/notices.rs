//! Mails to the person and webhooks to the platform.

mod mail;
mod outbox;
mod process;
mod webhook;
