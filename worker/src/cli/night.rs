//! `night trigger|pause|resume|window|cancel|show|watch`.

mod show;
mod steer;
pub(super) mod trigger;
mod watch;

use anyhow::Result;
use clap::Subcommand;

use super::ExitStatus;
use crate::{config::Config, output::Output};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a night now; if a night is already running, print its id instead.
    Trigger(trigger::Arguments),
    /// Start no further request in the running night; requests in flight complete.
    Pause(steer::PauseArguments),
    /// Resume the paused night.
    Resume(steer::ResumeArguments),
    /// Set the maximum number of requests in flight for the running night.
    Window(steer::WindowArguments),
    /// Cancel the running night: its attempts release their claims, and the requests stay pending.
    Cancel,
    /// Show the results of a night from the log, without Temporal.
    Show(show::Arguments),
    /// Follow the running night to its end.
    Watch,
}

impl Command {
    /// Returns whether the command waits for the end of a night.
    pub(super) fn may_take_long(&self) -> bool {
        match self {
            Self::Trigger(arguments) => arguments.waits(),
            Self::Watch => true,
            _ => false,
        }
    }

    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Trigger(arguments) => trigger::run(arguments, config, output).await,
            Self::Pause(arguments) => steer::pause(arguments, config, output).await,
            Self::Resume(arguments) => steer::resume(arguments, config, output).await,
            Self::Window(arguments) => steer::window(&arguments, config, output).await,
            Self::Cancel => steer::cancel(config, output).await,
            Self::Show(arguments) => show::run(&arguments, config, output).await,
            Self::Watch => watch::run(config, output).await,
        }
    }
}
