//! The instruments of the other tests.

mod checker;
mod instruments;
mod platform;
mod stack;
