//! `grants`.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use export_activities::catalogue::{portal_grants, state_grants};
use serde::Serialize;

use super::ExitStatus;
use crate::{
    config::Config,
    connect::{self, explain},
    migrate,
    output::Output,
};

/// Connections of `export_read` in addition to the exports: for the start of a night, the metrics and the doctor.
const FOR_COMMANDS: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Run it instead, as the role of EXPORT_OWNER_URL.
    #[arg(long)]
    apply: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    if arguments.apply { apply(config, output).await } else { print(config, output) }
}

#[derive(Serialize)]
struct Grants {
    sql: String,
}

/// Prints the SQL, so that the owner can read it first.
fn print(config: &Config, output: Output) -> Result<ExitStatus> {
    output.write(&Grants { sql: sql(config)? }, |answer, out| out.write_all(answer.sql.as_bytes()))?;
    Ok(ExitStatus::Success)
}

#[derive(Serialize)]
struct Granted {
    sentence: &'static str,
}

/// Runs the SQL as the owner of the tables.
async fn apply(config: &Config, output: Output) -> Result<ExitStatus> {
    let sql = sql(config)?;
    migrate::run_sql(config.owner_url()?, sql).await.map_err(explain::owner)?;
    let granted = Granted { sentence: "export_state, export_read and export_portal have their rights" };
    output.write(&granted, |answer, out| writeln!(out, "{}", answer.sentence))?;
    Ok(ExitStatus::Success)
}

fn sql(config: &Config) -> Result<String> {
    let catalogue = connect::catalogue(config)?;
    let mut sql = String::from(
        "-- The rights of the three roles of export-worker. Run it as the owner of the tables, after each change of the\n\
         -- catalogue; it may be run again. It makes the roles without a password: give them one, or another way in.\n\
         -- One transaction, so that a mistake leaves the rights as they were and no export fails in between.\n\
         begin;\n",
    );
    let rights = [
        ("export_state", state_grants().to_owned()),
        ("export_read", catalogue.grants()),
        ("export_portal", portal_grants().to_owned()),
    ];
    for (role, rights) in rights {
        let _ = write!(
            sql,
            "\ndo $$ begin\n    if not exists (select from pg_catalog.pg_roles where rolname = '{role}') then\n        \
             create role {role} login nosuperuser nobypassrls;\n    end if;\nend $$;\n"
        );
        sql.push_str(&rights);
    }
    sql.push_str(
        "\ncommit;\n\n-- As a superuser, so that no link ends in the server's log:\n\
         -- alter role export_state set log_parameter_max_length = 0;\n\
         -- alter role export_state set log_parameter_max_length_on_error = 0;\n\
         -- The most exports that all workers together read at a time, here those of one, and a few for commands:\n",
    );
    let _ = writeln!(
        sql,
        "-- alter role export_read connection limit {};",
        config.source_connections + FOR_COMMANDS
    );
    Ok(sql)
}
