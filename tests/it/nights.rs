//! Whole nights, their schedules, their histories and their counts.

mod at_once;
mod codec;
mod counts;
mod exactly_once;
mod extremes;
mod histories;
mod only;
mod pause;
mod replay;
mod schedule;
mod search_attributes;
mod steering;
mod whole;
