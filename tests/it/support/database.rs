//! A separate database for each test.

use export_activities::database::pool::Pool;
use export_stack::{servers::postgres::Role, shared::stack};
use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::support::installation_of;

/// A new, empty database and how its roles connect to it.
pub(crate) struct Database {
    /// As superuser, who may become any role.
    pub(crate) owner: PgPool,
    /// The URL of `export_read`.
    pub(crate) read_url: String,
}

/// A role that may read what `export_read` may, with options of its own: roles are shared by all tests.
pub(crate) struct Reader {
    name: String,
    pub(crate) url: String,
}

/// Runs statements, and names the one that fails.
pub(crate) async fn run(pool: &PgPool, sql: impl Into<String>) {
    let sql = sql.into();
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(pool).await {
        panic!("{error}: {sql}");
    }
}

impl Reader {
    /// Sets a parameter for its sessions.
    pub(crate) async fn set(&self, database: &Database, parameter: &str, value: &str) {
        run(&database.owner, format!("alter role {} set {parameter} = '{value}'", self.name)).await;
    }
}

impl Database {
    /// Makes a reader with options such as `bypassrls`. [`forget`](Self::forget) it at the end.
    pub(crate) async fn reader(&self, options: &str) -> Reader {
        let name = format!("reader_{}", Uuid::new_v4().simple());
        let create = format!("create role {name} login password 'x' {options}; grant export_read to {name}");
        run(&self.owner, create).await;
        let mut url = url::Url::parse(&self.read_url).unwrap();
        url.set_username(&name).unwrap();
        url.set_password(Some("x")).unwrap();
        Reader { name, url: url.to_string() }
    }

    pub(crate) async fn forget(&self, reader: Reader) {
        let name = reader.name;
        run(&self.owner, format!("drop owned by {name}; drop role {name}")).await;
    }

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
