//! Makes databases: one with everything in it, and quick copies of it.

use std::fs;

use anyhow::Context as _;

use crate::{
    postgres::{Postgres, Role},
    tools,
};

/// Makes a database with the reference platform's tables, empty; nothing happens if it is there already. Tells
/// whether it was made.
pub async fn make_platform(postgres: &Postgres, name: &str) -> anyhow::Result<bool> {
    let mut connection = postgres.connect(Role::Superuser, "postgres").await?;
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_catalog.pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .context("failed to look for a database")?;
    if there {
        return Ok(false);
    }
    let create = format!("create database \"{name}\" owner {}", Role::Owner.name());
    postgres.run(Role::Superuser, "postgres", create).await?;
    postgres
        .run(Role::Owner, name, platform()?)
        .await
        .context("failed to make the reference platform's tables")?;
    Ok(true)
}

/// Makes a database with the reference platform's tables, the export's own tables, and what each role may do.
///
/// `grants` is the SQL that the catalogue generates for `export_state` and `export_read`.
pub async fn make(postgres: &Postgres, name: &str, grants: &str) -> anyhow::Result<()> {
    make_platform(postgres, name).await?;
    export_worker::migrate::migrate(&postgres.url(Role::Owner, name)).await?;
    postgres.run(Role::Owner, name, grants.to_owned()).await.context("failed to give the roles their rights")
}

/// Makes a copy of a database that nobody is connected to.
pub async fn copy(postgres: &Postgres, template: &str, name: &str) -> anyhow::Result<()> {
    let owner = Role::Owner.name();
    let create = format!("create database \"{name}\" template \"{template}\" owner {owner}");
    postgres.run(Role::Superuser, "postgres", create).await
}

/// Gives the SQL of the reference platform, all its files in the order of their names.
fn platform() -> anyhow::Result<String> {
    let folder = tools::root().join("migrations/platform");
    let listed = fs::read_dir(&folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
    let mut paths = Vec::new();
    for entry in listed {
        let path = entry.with_context(|| format!("failed to list `{}`", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut sql = String::new();
    for path in paths {
        sql += &fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        sql.push('\n');
    }
    Ok(sql)
}
