//! The command line: its arguments, and the command that each one runs.
//!
//! Exit code 0: the command succeeded, or the check found no problem. 1: the command failed, or the check found a
//! problem. 2: the command line or the configuration is wrong, and the command tried nothing.

mod arguments;
mod bucket;
mod catalogue;
mod codec_server;
mod database;
mod doctor;
mod history;
mod night;
mod request;
mod schedule;
mod signals;
mod status;
mod steer;
mod upkeep;
mod verify;
mod watch;

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

use self::arguments::{Bucket, Catalogue, Events, History, Night, Request, Schedule, Status, sha256};
use crate::{
    config::{self, Config, ConfigError},
    connect::explain,
    output::Output,
    run, telemetry,
};

/// Fulfils data export requests: collects a user's data, stores it as an archive, and issues a link for seven days.
#[derive(Debug, Parser)]
#[command(name = "export-worker", version, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done or well; 1 failed or not well; 2 wrong command line or configuration.\n\
    Configuration: environment variables EXPORT_*, TEMPORAL_*, AWS_*; see .env.sample."
)]
pub struct Cli {
    /// Format of the answer.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker until SIGTERM or SIGINT; a second signal ends it immediately.
    Run,
    /// Create or upgrade our tables, as the role of EXPORT_OWNER_URL.
    Migrate,
    /// Print the SQL that grants both roles their rights, generated from the catalogue.
    Grants {
        /// Run it instead, as the role of EXPORT_OWNER_URL.
        #[arg(long)]
        apply: bool,
    },
    /// Manage the two Temporal schedules.
    #[command(subcommand)]
    Schedule(Schedule),
    /// Show the status of the system; if something needs a person, name it with its remedy and exit with 1.
    Status,
    /// Manage the nightly run.
    #[command(subcommand)]
    Night(Night),
    /// Manage requests.
    #[command(subcommand)]
    Request(Request),
    /// Fail overdue requests and delete the archives of failed ones, as the schedule does every five minutes.
    Expire {
        /// Also revoke the archives of users who no longer have a row.
        #[arg(long)]
        accounts: bool,
        /// Revoke even if too many users seem to be gone: at least ten and half, or more than 20 and a tenth.
        #[arg(long, requires = "accounts")]
        force: bool,
    },
    /// Delete objects and uploads that no request points to, as the night does.
    Sweep {
        /// Only count them.
        #[arg(long)]
        dry_run: bool,
        /// Delete even if too many objects would go: at least ten and half, or more than 20 and a tenth.
        #[arg(long)]
        force: bool,
    },
    /// Manage the bucket that holds the archives.
    #[command(subcommand)]
    Bucket(Bucket),
    /// Manage the fulfilment log.
    #[command(subcommand)]
    Events(Events),
    /// Dump and replay Temporal histories.
    #[command(subcommand)]
    History(History),
    /// Verify an archive offline: every digest, every count, JSON against CSV, cell by cell.
    Verify {
        /// The archive.
        archive: PathBuf,
        /// Also check that the file has this SHA-256.
        #[arg(long, value_name = "HEX", value_parser = sha256, conflicts_with = "request")]
        sha256: Option<String>,
        /// Also check that the file was delivered for this request (needs EXPORT_DATABASE_URL).
        #[arg(long, value_name = "ID")]
        request: Option<Uuid>,
    },
    /// Manage the catalogue: the list of exported tables and columns.
    #[command(subcommand)]
    Catalogue(Catalogue),
    /// Decode payloads for the Web UI and the Temporal CLI, until SIGTERM or SIGINT.
    CodecServer,
    /// Check everything that a night depends on; each line is ok, or a cause and its remedy.
    Doctor {
        /// Assign the bucket to this installation, whatever its current mark says.
        #[arg(long)]
        adopt_bucket: bool,
    },
}

/// Time limit of commands that only query. A server that accepts a connection and then stays silent returns no error.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Result of a command that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The command succeeded, or found no problem.
    Good,
    /// The command failed or found a problem; the answer names it.
    Bad,
}

/// Parses the command line, runs the command, and reports its error.
pub async fn main() -> ExitCode {
    // Exits by itself: with 0 after `--help`, with 2 after a mistake.
    let cli = Cli::parse();
    let within = if cli.command.may_take_long() { Duration::MAX } else { ANSWER_WITHIN };
    let ended = tokio::time::timeout(within, Box::pin(dispatch(cli))).await.unwrap_or_else(|_| {
        Err(anyhow::anyhow!(
            "no answer within {} s: a server accepts and is silent, or our tables are locked; `export-worker doctor` \
             says which",
            within.as_secs()
        ))
    });
    match ended {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Err(error) => {
            // Not in the log: a wrong configuration may have prevented its setup.
            let _ = writeln!(std::io::stderr().lock(), "error: {}", explain::command(&error));
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

impl Command {
    /// Returns whether the command waits for something, or does work without a bound. The others answer immediately.
    fn may_take_long(&self) -> bool {
        match self {
            Self::Run
            | Self::CodecServer
            | Self::Migrate
            | Self::Expire { .. }
            | Self::Sweep { .. }
            | Self::Events(_)
            | Self::Bucket(_)
            | Self::Verify { .. }
            | Self::History(_)
            | Self::Catalogue(_)
            | Self::Doctor { .. }
            | Self::Night(Night::Watch) => true,
            Self::Night(Night::Trigger { wait, .. }) => *wait,
            Self::Request(Request::Fulfil { wait, .. }) => *wait,
            Self::Request(Request::Forget { .. }) | Self::Grants { .. } => true,
            _ => false,
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<Verdict> {
    let (config, output) = (Config::from_env()?, cli.output);
    telemetry::init(config.log_format, log_level(&cli.command))?;
    for name in config::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
    {
        tracing::warn!("{name} is set but means nothing to export-worker: is it misspelt? See .env.sample");
    }
    if !matches!(cli.command, Command::Run | Command::CodecServer) {
        signals::end_on_signals()?;
    }
    match cli.command {
        Command::Run => run::run(&config).await.map(|()| Verdict::Good),
        Command::Migrate => database::migrate(&config, output).await,
        Command::Grants { apply: false } => database::grants(&config, output),
        Command::Grants { apply: true } => database::apply_grants(&config, output).await,
        Command::Schedule(Schedule::Apply) => schedule::apply(&config, output).await,
        Command::Schedule(Schedule::Show) => schedule::show(&config, output).await,
        Command::Schedule(Schedule::Pause { why, all }) => schedule::pause(&config, output, &why, all).await,
        Command::Schedule(Schedule::Unpause) => schedule::unpause(&config, output).await,
        Command::Schedule(Schedule::Delete { yes: _ }) => schedule::delete(&config, output).await,
        Command::Status => status::status(&config, output).await,
        Command::Night(Night::Show { night }) => watch::show(&config, output, night).await,
        Command::Night(Night::Watch) => watch::watch(&config, output).await,
        Command::Night(Night::Trigger { wait, accept }) => {
            let accept = accept.into_iter().map(Into::into).collect();
            night::trigger(&config, output, wait, accept).await
        }
        Command::Night(Night::Pause { why, by }) => steer::pause(&config, output, why, by).await,
        Command::Night(Night::Resume { why, by }) => steer::resume(&config, output, why, by).await,
        Command::Night(Night::Window { lanes }) => steer::window(&config, output, lanes).await,
        Command::Night(Night::Cancel) => steer::cancel(&config, output).await,
        Command::Request(Request::Create { user }) => request::create(&config, output, user).await,
        Command::Request(Request::List { status, limit }) => {
            request::list(&config, output, status.map(Status::as_str), limit).await
        }
        Command::Request(Request::Show { id, reveal }) => request::show(&config, output, id, reveal).await,
        Command::Request(Request::Fulfil { id, wait }) => request::fulfil(&config, output, id, wait).await,
        Command::Request(Request::Revoke { id, reason }) => {
            request::revoke(&config, output, id, reason.into()).await
        }
        Command::Request(Request::Retry { id }) => request::retry(&config, output, id).await,
        Command::Request(Request::Forget { user }) => request::forget(&config, output, user).await,
        Command::Expire { accounts, force } => upkeep::expire(&config, output, accounts, force).await,
        Command::Sweep { dry_run, force } => upkeep::sweep(&config, output, dry_run, force).await,
        Command::Bucket(Bucket::Move { same_bucket }) => bucket::move_to(&config, output, same_bucket).await,
        Command::Events(Events::Prune) => upkeep::prune(&config, output).await,
        Command::History(History::Dump { workflow_id, run_id, file }) => {
            history::dump(&config, output, &workflow_id, run_id.as_deref(), &file).await
        }
        Command::History(History::Replay { files }) => history::replay(&config, output, &files).await,
        Command::Verify { archive, sha256, request } => {
            verify::verify(&config, output, &archive, sha256, request).await
        }
        Command::Catalogue(Catalogue::Check) => catalogue::check(&config, output).await,
        Command::Catalogue(Catalogue::Init { relations }) => catalogue::init(&config, &relations).await,
        Command::CodecServer => codec_server::serve(&config).await,
        Command::Doctor { adopt_bucket } => doctor::doctor(&config, output, adopt_bucket).await,
    }
}

/// A command that prints an answer logs only warnings. A replay logs only errors: its warnings repeat its answer.
fn log_level(command: &Command) -> LevelFilter {
    match command {
        Command::Run | Command::CodecServer => LevelFilter::INFO,
        Command::History(History::Replay { .. }) => LevelFilter::ERROR,
        _ => LevelFilter::WARN,
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_that_the_manual_names_can_be_typed() {
        let id = "0f0e9e3e-6f0c-4f7e-8d40-d2c1f2a8a111";
        let digest = "ab".repeat(32);
        for line in [
            "run".to_owned(),
            "migrate".to_owned(),
            "grants --apply".to_owned(),
            "schedule apply".to_owned(),
            "schedule show --output json".to_owned(),
            "schedule pause --why upgrade --all".to_owned(),
            "schedule unpause".to_owned(),
            "schedule delete --yes".to_owned(),
            "night trigger --wait".to_owned(),
            "night trigger --accept account_deleted --accept attempts_exhausted".to_owned(),
            "night pause --why upgrade --by ada".to_owned(),
            "night resume".to_owned(),
            "night window 10 --output json".to_owned(),
            "night cancel".to_owned(),
            format!("request fulfil {id} --wait"),
            "night show --night 2026-11-21".to_owned(),
            "night watch".to_owned(),
            "status --output json".to_owned(),
            format!("request create --user {id}"),
            "request list --status pending".to_owned(),
            format!("request show {id} --reveal"),
            format!("request revoke {id} --reason user_request"),
            format!("request retry {id}"),
            format!("request forget --user {id}"),
            "expire --accounts --force".to_owned(),
            "sweep --dry-run --force".to_owned(),
            "events prune".to_owned(),
            format!("history dump nightly_batch --run-id {id} -o night.json"),
            "history dump nightly_batch -o -".to_owned(),
            "history replay a.json b.json --output json".to_owned(),
            format!("verify a.zip --sha256 {digest}"),
            format!("verify a.zip --request {id}"),
            "catalogue check".to_owned(),
            "catalogue init public.users public.projects".to_owned(),
            "codec-server".to_owned(),
            "doctor --adopt-bucket".to_owned(),
        ] {
            assert!(parse(&format!("export-worker {line}")).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_before_anything_is_tried() {
        for (line, kind) in [
            ("request create --user me", ErrorKind::ValueValidation),
            ("request revoke 0f0e9e3e-6f0c-4f7e-8d40-d2c1f2a8a111", ErrorKind::MissingRequiredArgument),
            ("request list --status done", ErrorKind::InvalidValue),
            ("night show --night yesterday", ErrorKind::ValueValidation),
            ("expire --force", ErrorKind::MissingRequiredArgument),
            ("night trigger --accept revoked", ErrorKind::InvalidValue),
            ("night pause", ErrorKind::MissingRequiredArgument),
            ("night pause --why=", ErrorKind::ValueValidation),
            ("night window 51", ErrorKind::ValueValidation),
            ("schedule pause", ErrorKind::MissingRequiredArgument),
            ("schedule delete", ErrorKind::MissingRequiredArgument),
            ("history dump nightly_batch", ErrorKind::MissingRequiredArgument),
            ("history replay", ErrorKind::MissingRequiredArgument),
            ("verify a.zip --sha256 abc", ErrorKind::ValueValidation),
        ] {
            let error = parse(&format!("export-worker {line}")).unwrap_err();
            assert_eq!(error.kind(), kind, "{line}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
