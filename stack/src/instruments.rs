//! The instruments of the tests: they cut, count and fail calls on purpose, and check the state afterwards.

pub mod checker;
pub mod faulty_store;
pub mod proxy;
pub mod round_trips;
