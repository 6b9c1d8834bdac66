//! Connections to PostgreSQL, for our own database and for the platform's: sessions with known settings, and their pool.
//!
//! It knows no table.

pub mod pool;
pub mod session;
