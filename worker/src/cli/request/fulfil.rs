//! `request fulfil`.

use anyhow::Result;
use clap::Args;
use export_activities::requests::{operate, state::Status};
use uuid::Uuid;

use super::{RequestAnswer, unknown};
use crate::{
    cli::{
        ExitStatus,
        night::trigger::{answer, say_if_nobody_polls},
    },
    config::Config,
    connect,
    output::Output,
    temporal::night::{self, Started},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The request.
    id: Uuid,
    /// Wait until the run ends, then print its result; Ctrl-C ends the waiting, not the run.
    #[arg(long)]
    wait: bool,
}

impl Arguments {
    pub(super) fn waits(&self) -> bool {
        self.wait
    }
}

/// Fulfils one request immediately, in a separate run. With `wait`, prints its result.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let Arguments { id, wait } = *arguments;
    // The run checks this too, but a caller that does not wait would not see its answer.
    let Some(shown) = operate::show(&connect::state(config)?, id).await? else {
        return unknown(id).write(output);
    };
    if shown.status != Status::Pending {
        let sentence = format!("Request {id} is {}: only a pending one can be fulfilled", shown.status);
        return RequestAnswer { id, retry_of: None, done: false, sentence }.write(output);
    }
    let client = connect::temporal(config).await?;
    let run = night::fulfil(&client, &config.task_queue, id).await?;
    output.say(&match run.started {
        Started::WasRunning => format!("`{}` is running already; nothing was started", run.workflow_id),
        Started::Directly | Started::BySchedule => format!("Started `{}`", run.workflow_id),
    });
    say_if_nobody_polls(config, &client, output).await?;
    answer(&client, output, run, wait).await
}
