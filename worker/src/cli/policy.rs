//! `policy`.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use export_activities::requests::policy::{self, Change, Policy, StartPolicy};
use sqlx::Connection as _;

use super::ExitStatus;
use crate::{
    config::{Config, parse_time, show_time},
    connect::{self, explain},
    migrate,
    output::Output,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show how often people may ask for an export, and when it is made.
    Show,
    /// Change it, as the role of EXPORT_OWNER_URL; what is not named stays.
    Set(Arguments),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Arguments {
    /// When exports are made; `choose`: the caller decides.
    #[arg(long, value_enum)]
    start: Option<Start>,
    /// Maximum number of requests of one user that are pending, and of those made within `--every`.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=100))]
    per_user: Option<i32>,
    /// Maximum number of pending requests of one organisation.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    per_org: Option<i32>,
    /// In which time a user may ask that often, such as 24h; at most 366 days.
    #[arg(long, value_parser = every)]
    every: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Start {
    Night,
    #[value(name = "at_once")]
    AtOnce,
    Choose,
}

impl From<Start> for StartPolicy {
    fn from(start: Start) -> Self {
        match start {
            Start::Night => Self::Night,
            Start::AtOnce => Self::AtOnce,
            Start::Choose => Self::Choose,
        }
    }
}

const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

fn every(text: &str) -> Result<Duration, String> {
    let every = parse_time(text).filter(|every| *every <= LONGEST);
    every.ok_or_else(|| "a time such as 30m, 24h or 168h, at most 366 days".to_owned())
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        let policy = match self {
            Self::Show => policy::read(&connect::state(config)?).await?,
            Self::Set(arguments) => set(&arguments, config).await.map_err(explain::owner)?,
        };
        output.write(&policy, print)?;
        Ok(ExitStatus::Success)
    }
}

async fn set(arguments: &Arguments, config: &Config) -> Result<Policy> {
    let change = Change {
        start: arguments.start.map(StartPolicy::from),
        pending_per_user: arguments.per_user,
        pending_per_org: arguments.per_org,
        ask_every: arguments.every,
    };
    let mut owner = migrate::connect(config.owner_url()?).await?;
    let policy = policy::change(&mut owner, &change).await?;
    owner.close().await?;
    Ok(policy)
}

fn print(policy: &Policy, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let every = Duration::from_secs(u64::try_from(policy.ask_every_seconds).unwrap_or_default());
    writeln!(out, "start      {}", policy.start.as_str())?;
    writeln!(
        out,
        "per user   {} pending, and {} in {}",
        policy.pending_per_user,
        policy.pending_per_user,
        show_time(every)
    )?;
    writeln!(out, "per org    {} pending", policy.pending_per_org)
}
