//! `notices`.

use std::io::Write;

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use export_notices::outbox::{self, Channel, ChannelStatus, Listed, NoticeState};
use serde::Serialize;
use uuid::Uuid;

use super::ExitStatus;
use crate::{
    config::{Config, show_time},
    connect,
    output::Output,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the channels, and what waits in each.
    Show,
    /// Write notices from now on, and send them.
    On {
        /// The channel.
        #[arg(value_enum)]
        channel: ChannelName,
    },
    /// Write and send none; what is due is dropped.
    Off {
        /// The channel.
        #[arg(value_enum)]
        channel: ChannelName,
    },
    /// Send again through a channel that was paused, after its cause was removed.
    Resume {
        /// The channel.
        #[arg(value_enum)]
        channel: ChannelName,
    },
    /// List notices, the newest first.
    List(ListArguments),
    /// Send dead notices again, or one by its id.
    Retry(Which),
    /// Send again what was sent since a time: for a receiver that lost it.
    Replay {
        /// The channel.
        #[arg(value_enum)]
        channel: ChannelName,
        /// Since when, such as 2026-11-27T08:00:00Z.
        #[arg(long)]
        since: DateTime<Utc>,
    },
    /// Give up dead notices for good, or one by its id.
    Drop(Which),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only those in this state.
    #[arg(long, value_enum)]
    state: Option<StateName>,
    /// Only those of this request.
    #[arg(long)]
    request: Option<Uuid>,
    /// Maximum number of notices.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Debug, Args)]
#[group(required = true)]
pub(super) struct Which {
    /// The notice with this id.
    #[arg(long)]
    id: Option<Uuid>,
    /// All dead notices of this channel.
    #[arg(long, value_enum)]
    dead: Option<ChannelName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ChannelName {
    Mail,
    Webhook,
}

impl From<ChannelName> for Channel {
    fn from(name: ChannelName) -> Self {
        match name {
            ChannelName::Mail => Self::Mail,
            ChannelName::Webhook => Self::Webhook,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateName {
    Due,
    Sent,
    Dropped,
    Dead,
}

impl From<StateName> for NoticeState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Due => Self::Due,
            StateName::Sent => Self::Sent,
            StateName::Dropped => Self::Dropped,
            StateName::Dead => Self::Dead,
        }
    }
}

/// How many notices a command changed.
#[derive(Serialize)]
struct Changed {
    notices: u64,
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        let state = &connect::state(config)?;
        let changed = match self {
            Self::Show => {
                output
                    .write(&outbox::channels(state).await?, |channels, out| print_channels(channels, out))?;
                return Ok(ExitStatus::Success);
            }
            Self::List(ListArguments { state: only, request, limit }) => {
                let listed = outbox::list(state, only.map(NoticeState::from), request, limit).await?;
                output.write(&listed, |listed, out| {
                    listed.iter().try_for_each(|notice| print_notice(notice, out))
                })?;
                return Ok(ExitStatus::Success);
            }
            Self::On { channel } => outbox::switch(state, channel.into(), true).await?,
            Self::Off { channel } => outbox::switch(state, channel.into(), false).await?,
            Self::Resume { channel } => outbox::resume(state, channel.into()).await?,
            Self::Retry(Which { id, dead }) => {
                found(id, outbox::again(state, dead.map(Channel::from), id).await?, "sent, dropped or dead")?
            }
            Self::Replay { channel, since } => outbox::replay(state, channel.into(), since).await?,
            Self::Drop(Which { id, dead }) => {
                found(id, outbox::drop_dead(state, dead.map(Channel::from), id).await?, "due or dead")?
            }
        };
        output.write(&Changed { notices: changed }, |changed, out| {
            writeln!(out, "done; notices changed: {}", changed.notices)
        })?;
        Ok(ExitStatus::Success)
    }
}

/// Refuses an id that names no notice in one of these states.
fn found(id: Option<Uuid>, changed: u64, states: &str) -> Result<u64> {
    match id {
        Some(id) if changed == 0 => bail!(
            "no notice `{id}` is {states}: see the notices of its request in `export-worker notices list --request ID`"
        ),
        _ => Ok(changed),
    }
}

fn print_channels(channels: &[ChannelStatus], out: &mut dyn Write) -> std::io::Result<()> {
    for channel in channels {
        let oldest = u64::try_from(channel.oldest_due_seconds).unwrap_or_default();
        let state = match (channel.is_on, &channel.paused_because) {
            (false, _) => "off".to_owned(),
            (true, None) => "on".to_owned(),
            (true, Some(because)) => format!("paused: {because}"),
        };
        let name = channel.channel.as_str();
        writeln!(out, "{name:<8} {state}")?;
        if channel.due > 0 {
            let oldest = show_time(std::time::Duration::from_secs(oldest));
            writeln!(out, "         {} due, the oldest for {oldest}", channel.due)?;
        }
        if channel.dead > 0 {
            writeln!(out, "         {} given up", channel.dead)?;
        }
    }
    Ok(())
}

fn print_notice(notice: &Listed, out: &mut dyn Write) -> std::io::Result<()> {
    let at = notice.ended_at.unwrap_or(notice.due_at).format("%Y-%m-%d %H:%M:%S");
    let (channel, topic, state) = (notice.channel.as_str(), notice.topic.as_str(), notice.state.as_str());
    let code = notice.code.as_deref().unwrap_or("");
    writeln!(
        out,
        "{}  {channel:<7}  {topic:<14}  {state:<7}  {at}  {} tries  {code}  request {}",
        notice.id, notice.tries, notice.request_id
    )
}
