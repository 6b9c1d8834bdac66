//! Nights in which something dies, hangs, or is tampered with by operators.

mod locked_row;
mod meddling;
mod memory;
mod nights;
mod operators;
mod outages;
mod poison;
mod rolling;
