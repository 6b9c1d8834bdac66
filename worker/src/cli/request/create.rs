//! `request create`.

use std::str::FromStr;

use anyhow::{Result, anyhow};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use export_activities::{
    requests::operate,
    scope::Scope,
    serialise::formats::{FormatName, Formats},
    user_id::UserId,
};

use super::RequestAnswer;
use crate::{cli::ExitStatus, config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// User whose data is exported.
    #[arg(long)]
    user: UserId,
    /// Export only this entity, and what it refers to; may be repeated.
    #[arg(long = "entity", value_name = "NAME")]
    entities: Vec<String>,
    /// Export nothing from before this time: 2026-01-31, or 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<DateTime<Utc>>,
    /// Export nothing from this time on.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<DateTime<Utc>>,
    /// Export only rows with this value; may be repeated.
    #[arg(long = "filter", value_name = "ENTITY.COLUMN=VALUE")]
    filters: Vec<Filter>,
    /// Export in this format, beside JSON and CSV: xlsx is a workbook for spreadsheets, parquet is
    /// for data analysis; may be repeated.
    #[arg(long = "format", value_name = "FORMAT")]
    formats: Vec<FormatName>,
}

/// A value that rows must have.
#[derive(Clone, Debug)]
struct Filter {
    entity: String,
    column: String,
    value: String,
}

impl FromStr for Filter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('.').and_then(|(entity, rest)| Some((entity, rest.split_once('=')?)));
        let (entity, (column, value)) =
            parts.ok_or("is not of the form ENTITY.COLUMN=VALUE, such as releases.channel=stable")?;
        Ok(Self { entity: entity.to_owned(), column: column.to_owned(), value: value.to_owned() })
    }
}

/// Reads a moment, or a day, which begins at midnight UTC.
fn moment(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let day = || text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    text.parse().or_else(|_| day()).map_err(|_| "is no time such as 2026-01-31 or 2026-01-31T12:00:00Z")
}

impl Arguments {
    fn scope(&self) -> Scope {
        let mut scope = Scope { since: self.since, until: self.until, ..Scope::default() };
        if !self.entities.is_empty() {
            scope.entities = Some(self.entities.clone());
        }
        for Filter { entity, column, value } in &self.filters {
            let columns = scope.filters.entry(entity.clone()).or_default();
            columns.entry(column.clone()).or_default().push(value.clone());
        }
        scope
    }
}

/// Creates a pending request.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let mut scope = arguments.scope();
    if !scope.is_whole() {
        let part = scope.part(connect::catalogue(config)?.offer()).map_err(|unfit| {
            let sentences: Vec<_> = unfit.iter().map(ToString::to_string).collect();
            anyhow!("the catalogue has no such part: {}", sentences.join("; "))
        })?;
        scope = part.scope.unwrap_or_default();
    }
    let formats = Formats::with(arguments.formats.iter().copied());
    let id = operate::create(&connect::state(config)?, &arguments.user, &scope, &formats).await?;
    // Only the id, so that a shell script can use it.
    let answer = RequestAnswer { id, retry_of: None, done: true, sentence: id.to_string() };
    answer.write(output)
}
