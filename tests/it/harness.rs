//! The instruments of the other tests.

mod architecture;
mod checker;
mod instruments;
mod platform;
mod stack;
