//! The instruments of the other tests.

mod architecture;
mod bench;
mod checker;
mod instruments;
mod platform;
mod stack;
