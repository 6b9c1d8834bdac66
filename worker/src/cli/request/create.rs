//! `request create`.

use anyhow::Result;
use clap::Args;
use export_activities::{requests::operate, user_id::UserId};

use super::RequestAnswer;
use crate::{cli::ExitStatus, config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// User whose data is exported.
    #[arg(long)]
    user: UserId,
}

/// Creates a pending request.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let id = operate::create(&connect::state(config)?, &arguments.user).await?;
    // Only the id, so that a shell script can use it.
    let answer = RequestAnswer { id, retry_of: None, done: true, sentence: id.to_string() };
    answer.write(output)
}
