//! The command line: its arguments, and the command that each one runs.
//!
//! Exit code 0: the command succeeded, or the check found no problem. 1: the command failed, or the check found a
//! problem. 2: the command line or the configuration is wrong, and the command tried nothing.

mod arguments;
mod bucket;
mod catalogue;
mod codec_server;
mod cost;
mod doctor;
mod events;
mod expire;
mod grants;
mod history;
mod lifecycle;
mod migrate;
mod night;
mod notices;
mod policy;
mod portal;
mod receipt;
mod recheck;
mod register;
mod request;
mod schedule;
mod serve;
mod signals;
mod status;
mod sweep;
mod verify;

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

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
    /// Print the SQL that grants the three roles their rights, generated from the catalogue.
    Grants(grants::Arguments),
    /// Manage the two Temporal schedules.
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Show the status of the system; if something needs a person, name it with its remedy and exit with 1.
    Status,
    /// Manage the nightly run.
    #[command(subcommand)]
    Night(night::Command),
    /// Manage requests.
    #[command(subcommand)]
    Request(request::Command),
    /// Fail overdue requests and delete the archives of failed ones, as the schedule does every five minutes.
    Expire(expire::Arguments),
    /// Delete objects and uploads that no request points to, as the night does.
    Sweep(sweep::Arguments),
    /// Compare delivered archives with their rows, and read some of them back, as the night does.
    Recheck(recheck::Arguments),
    /// Manage the rules by which the store itself deletes what was left.
    #[command(subcommand)]
    Lifecycle(lifecycle::Command),
    /// Manage the bucket that holds the archives.
    #[command(subcommand)]
    Bucket(bucket::Command),
    /// Manage the fulfilment log.
    #[command(subcommand)]
    Events(events::Command),
    /// Dump and replay Temporal histories.
    #[command(subcommand)]
    History(history::Command),
    /// Verify an archive offline: every digest, every count, JSON against CSV, cell by cell.
    Verify(verify::Arguments),
    /// Print the register of requests as CSV: until when the law wants an answer to each one, and when that came.
    Register(register::Arguments),
    /// Print what the archives of a month cost in the store, by day, from the log.
    Cost(cost::Arguments),
    /// Manage receipts: signed statements of what was delivered.
    #[command(subcommand)]
    Receipt(receipt::Command),
    /// Show or change how often people may ask for an export.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Manage mails to people and webhooks to the platform.
    #[command(subcommand)]
    Notices(notices::Command),
    /// Manage the catalogue: the list of exported tables and columns.
    #[command(subcommand)]
    Catalogue(catalogue::Command),
    /// Serve the API for the people who ask, until SIGTERM or SIGINT.
    Serve,
    /// Manage the portal, which `serve` runs.
    #[command(subcommand)]
    Portal(portal::Command),
    /// Decode payloads for the Web UI and the Temporal CLI, until SIGTERM or SIGINT.
    CodecServer,
    /// Check everything that a night depends on; each line is ok, or a cause and its remedy.
    Doctor(doctor::Arguments),
}

/// Time limit of commands that only query. A server that accepts a connection and then stays silent returns no error.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Result of a command that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The command succeeded, or found no problem.
    Success,
    /// The command failed or found a problem; the answer names it.
    Failure,
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
        Ok(ExitStatus::Success) => ExitCode::SUCCESS,
        Ok(ExitStatus::Failure) => ExitCode::from(1),
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
            Self::Schedule(_) | Self::Status => false,
            Self::Night(night) => night.may_take_long(),
            Self::Request(request) => request.may_take_long(),
            _ => true,
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitStatus> {
    let (config, output) = (Config::from_env()?, cli.output);
    telemetry::init(config.log_format, log_level(&cli.command))?;
    for name in config::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
    {
        tracing::warn!(
            "{name} is set, but export-worker has no such variable: check its spelling in .env.sample"
        );
    }
    if !matches!(cli.command, Command::Run | Command::Serve | Command::CodecServer) {
        signals::end_on_signals()?;
    }
    match cli.command {
        // Boxed: its future is large.
        Command::Run => Box::pin(run::run(&config)).await.map(|()| ExitStatus::Success),
        Command::Migrate => migrate::run(&config, output).await,
        Command::Grants(arguments) => grants::run(&arguments, &config, output).await,
        Command::Schedule(command) => command.run(&config, output).await,
        Command::Status => status::run(&config, output).await,
        Command::Night(command) => command.run(&config, output).await,
        Command::Request(command) => command.run(&config, output).await,
        Command::Expire(arguments) => expire::run(&arguments, &config, output).await,
        Command::Sweep(arguments) => sweep::run(&arguments, &config, output).await,
        Command::Recheck(arguments) => recheck::run(&arguments, &config, output).await,
        Command::Lifecycle(command) => command.run(&config, output).await,
        Command::Bucket(command) => command.run(&config, output).await,
        Command::Events(command) => command.run(&config, output).await,
        Command::History(command) => command.run(&config, output).await,
        Command::Verify(arguments) => verify::run(arguments, &config, output).await,
        Command::Receipt(command) => command.run(&config, output).await,
        Command::Register(arguments) => register::run(&arguments, &config).await,
        Command::Cost(arguments) => cost::run(&arguments, &config, output).await,
        Command::Policy(command) => command.run(&config, output).await,
        Command::Notices(command) => command.run(&config, output).await,
        Command::Catalogue(command) => command.run(&config, output).await,
        Command::Serve => Box::pin(serve::run(&config)).await,
        Command::Portal(command) => command.run(output),
        Command::CodecServer => codec_server::run(&config).await,
        Command::Doctor(arguments) => doctor::run(&arguments, &config, output).await,
    }
}

/// A command that prints an answer logs only warnings. A replay logs only errors: its warnings repeat its answer.
fn log_level(command: &Command) -> LevelFilter {
    match command {
        Command::Run | Command::Serve | Command::CodecServer => LevelFilter::INFO,
        Command::History(history::Command::Replay(_)) => LevelFilter::ERROR,
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

    /// Appends a line for each command: its name and its first sentence.
    fn list(command: &clap::Command, path: &str, out: &mut String) {
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let path = format!("{path}{} ", command.get_name());
            if command.has_subcommands() {
                list(command, &path, out);
            } else {
                let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                out.push_str(&format!("{path:<18} {about}\n"));
            }
        }
    }

    #[test]
    fn each_command_says_what_it_does() {
        let mut commands = String::new();
        list(&Cli::command(), "", &mut commands);
        insta::assert_snapshot!(commands, @r"
        run                Run the worker until SIGTERM or SIGINT; a second signal ends it immediately
        migrate            Create or upgrade our tables, as the role of EXPORT_OWNER_URL
        grants             Print the SQL that grants the three roles their rights, generated from the catalogue
        schedule apply     Create or update both schedules; a paused schedule stays paused and keeps its note
        schedule show      Show both schedules and whether they match their definitions
        schedule pause     Start no further night until `schedule unpause`; a running night continues
        schedule unpause   Resume both schedules
        schedule delete    Delete both schedules; current runs continue
        status             Show the status of the system; if something needs a person, name it with its remedy and exit with 1
        night trigger      Start a night now; if a night is already running, print its id instead
        night pause        Start no further request in the running night; requests in flight complete
        night resume       Resume the paused night
        night window       Set the maximum number of requests in flight for the running night
        night cancel       Cancel the running night: its attempts release their claims, and the requests stay pending
        night show         Show the results of a night from the log, without Temporal
        night watch        Follow the running night to its end
        request create     Create a pending request
        request list       List requests, newest first
        request show       Show one request and its log: whether a link exists, and when it expires
        request fulfil     Fulfil a pending request now, in a run separate from the night
        request revoke     Revoke a request: delete its archive, so that its link stops working
        request retry      Create a pending request that repeats a failed one
        request forget     Revoke the requests of an erased account, delete their archives, and remove the user's id from their rows
        expire             Fail overdue requests and delete the archives of failed ones, as the schedule does every five minutes
        sweep              Delete objects and uploads that no request points to, as the night does
        recheck            Compare delivered archives with their rows, and read some of them back, as the night does
        lifecycle print    Print rules by which the store itself deletes what was left, as the S3 API takes them
        lifecycle apply    Set these rules in the bucket; other rules are kept
        bucket move        Store new archives in the bucket of EXPORT_BUCKET; existing archives stay in their bucket until they expire
        events prune       Delete log lines older than 24 months, and requests without any log line left
        history dump       Write the history of a run to a file, for `history replay` and for a report
        history replay     Check whether this release can continue these histories, without a server
        verify             Verify an archive offline: every digest, every count, JSON against CSV, cell by cell
        register           Print the register of requests as CSV: until when the law wants an answer to each one, and when that came
        cost               Print what the archives of a month cost in the store, by day, from the log
        receipt key        Make a key that signs receipts: writes the private key to a new file, and prints the public key as JWK
        receipt show       Print the receipt of a delivered archive, as the worker signed it
        policy show        Show how often people may ask for an export, and when it is made
        policy set         Change it, as the role of EXPORT_OWNER_URL; what is not named stays
        notices show       Show the channels, and what waits in each
        notices on         Write notices from now on, and send them
        notices off        Write and send none; what is due is dropped
        notices resume     Send again through a channel that was paused, after its cause was removed
        notices list       List notices, the newest first
        notices retry      Send dead notices again, or one by its id
        notices replay     Send again what was sent since a time: for a receiver that lost it
        notices drop       Give up dead notices for good, or one by its id
        catalogue check    Compare the catalogue with the database
        catalogue preview  Show what the export of one account would hold, and how the source would read it. Exports nothing
        catalogue document  Print what is exported and what is not, for a register of processing activities
        catalogue diff     Compare two catalogues as those who read archives see them; exit with 1 if a change is breaking
        catalogue init     Print a first catalogue, with a decision left open for each column that needs one
        catalogue update   Bring `catalogue.toml` in `EXPORT_CATALOGUE_DIR` up to date after a change of the platform's schema. Keeps every decision; what is new is left open for a person
        serve              Serve the API for the people who ask, until SIGTERM or SIGINT
        portal key         Make a service key for a backend of the platform: prints the key, and its line for EXPORT_PORTAL_KEY_FILE
        portal openapi     Print the description of the API: OpenAPI 3.1
        codec-server       Decode payloads for the Web UI and the Temporal CLI, until SIGTERM or SIGINT
        doctor             Check everything that a night depends on; each line is ok, or a cause and its remedy
        ");
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
            "recheck --all".to_owned(),
            "lifecycle print".to_owned(),
            "lifecycle apply".to_owned(),
            "events prune".to_owned(),
            format!("history dump nightly_batch --run-id {id} -o night.json"),
            "history dump nightly_batch -o -".to_owned(),
            "history replay a.json b.json --output json".to_owned(),
            format!("verify a.zip --sha256 {digest}"),
            format!("verify a.zip --request {id}"),
            "receipt key /etc/export-worker/receipt.pem".to_owned(),
            format!("receipt show {id} --accesses"),
            "verify a.zip --receipt r.jws --receipt-key keys.json".to_owned(),
            "cost --month 2026-11 --output json".to_owned(),
            "register --from 2026-11-01 --to 2026-11-30".to_owned(),
            "policy show".to_owned(),
            "policy set --start choose --per-user 1 --per-org 50 --every 12h".to_owned(),
            "notices show".to_owned(),
            "notices on webhook".to_owned(),
            format!("notices list --state dead --request {id}"),
            format!("notices retry --id {id}"),
            "notices retry --dead mail".to_owned(),
            "notices replay webhook --since 2026-11-27T08:00:00Z".to_owned(),
            "catalogue check".to_owned(),
            format!("catalogue preview --user {id} --plan"),
            "catalogue document --csv".to_owned(),
            "catalogue diff old new".to_owned(),
            "catalogue init public.users public.projects".to_owned(),
            "catalogue init --follow-foreign-keys public.users --hub public.teams".to_owned(),
            "catalogue init --follow-foreign-keys public.users --link userid=public.users".to_owned(),
            "catalogue update --link userid=public.users".to_owned(),
            "codec-server".to_owned(),
            "serve".to_owned(),
            "portal key crm".to_owned(),
            "portal openapi".to_owned(),
            "doctor --adopt-bucket".to_owned(),
        ] {
            assert!(parse(&format!("export-worker {line}")).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_before_anything_is_tried() {
        for (line, kind) in [
            ("request create --user=", ErrorKind::ValueValidation),
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
            ("policy set", ErrorKind::MissingRequiredArgument),
            ("policy set --every 9000h", ErrorKind::ValueValidation),
            ("notices drop", ErrorKind::MissingRequiredArgument),
            ("notices on sms", ErrorKind::InvalidValue),
        ] {
            let error = parse(&format!("export-worker {line}")).unwrap_err();
            assert_eq!(error.kind(), kind, "{line}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
