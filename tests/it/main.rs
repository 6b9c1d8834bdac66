//! Promises of the whole system, in folders by what they are about, tested on real servers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail it as the test itself does"
)]

mod cli;
mod database;
mod faults;
mod fulfil;
mod harness;
mod nights;
mod notices;
mod passes;
mod platforms;
mod portal;
mod requests;
mod source;
mod support;
mod values;
