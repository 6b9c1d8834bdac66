//! The platform's database: what is read there, in which session, and how little it costs.

mod changed;
mod collect;
mod kindness;
mod known_plan;
mod pooler;
mod replica;
mod settings;
