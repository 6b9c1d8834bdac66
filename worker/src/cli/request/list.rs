//! `request list`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use export_activities::requests::{
    operate::{self, Listed},
    state,
};

use super::time;
use crate::{
    cli::ExitStatus,
    config::Config,
    connect,
    output::{Output, table},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Only requests in this state.
    #[arg(long, value_enum)]
    status: Option<StatusFilter>,
    /// Maximum number of requests.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum StatusFilter {
    Pending,
    Ready,
    Failed,
}

impl From<StatusFilter> for state::Status {
    fn from(status: StatusFilter) -> Self {
        match status {
            StatusFilter::Pending => Self::Pending,
            StatusFilter::Ready => Self::Ready,
            StatusFilter::Failed => Self::Failed,
        }
    }
}

/// Lists requests.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let status = arguments.status.map(Into::into);
    let listed = operate::list(&connect::state(config)?, status, arguments.limit).await?;
    output.write(&listed, |listed, out| {
        let rows: Vec<_> = listed.iter().map(row).collect();
        table(out, &["REQUEST", "USER", "STATUS", "REQUESTED", "LINK UNTIL", "WHY"], &rows)
    })?;
    Ok(ExitStatus::Success)
}

fn row(listed: &Listed) -> Vec<String> {
    let why = listed.failure_reason.as_deref().or(listed.last_error.as_deref()).unwrap_or_default();
    vec![
        listed.id.to_string(),
        listed.user_id.to_string(),
        listed.status.to_string(),
        time(listed.requested_at),
        listed.expires_at.filter(|_| listed.status == state::Status::Ready).map(time).unwrap_or_default(),
        why.to_owned(),
    ]
}
