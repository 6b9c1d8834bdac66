//! Our connections to PostgreSQL.

mod pool;
