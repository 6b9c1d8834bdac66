//! What the commands ask of Temporal: nights, their schedules, their histories, and orders to a running night.
//!
//! Nothing here reads or changes a request.

pub mod at_once;
pub mod history;
pub mod night;
pub mod schedule;
pub mod steer;
