//! The queue: each state, each command of an operator, and what holds requests back.

mod ask;
mod constraints;
mod cost;
mod held_back;
mod operate;
mod pending;
mod scope;
mod users;
