//! A separate database for each test.

use export_activities::database::pool::Pool;
use export_stack::{servers::postgres::Role, shared::stack};
use secrecy::ExposeSecret as _;
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::support::installation_of;

/// A new, empty database and how its roles connect to it.
pub(crate) struct Database {
    /// As superuser, who may become any role.
    pub(crate) owner: PgPool,
    /// The URL of `export_read`.
    pub(crate) read_url: String,
}

impl Database {
    /// Connects as `export_read`.
    pub(crate) fn source(&self) -> Pool {
        installation_of::source(&self.read_url.clone().into(), 4)
    }
}

pub(crate) async fn database() -> Database {
    let postgres = &stack().await.unwrap().servers().postgres;
    let name = format!("test_{}", Uuid::new_v4().simple());
    let create = format!("create database {name} owner {}", Role::Owner.name());
    postgres.run(Role::Superuser, "postgres", create).await.unwrap();
    let owner = postgres.url(Role::Superuser, &name);
    let owner = PgPoolOptions::new().max_connections(2).connect(owner.expose_secret()).await.unwrap();
    Database { owner, read_url: postgres.url(Role::Read, &name).expose_secret().to_owned() }
}
