//! `cost`: what the archives of a month cost in the store.

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, Utc};
use clap::Args;
use export_activities::{
    fulfil::upload::{MOST_PARTS, PART_BYTES},
    requests::cost::{self, AccountUse, DayUse, Prices, Uploads, Use},
};
use serde::Serialize;
use sqlx::Connection as _;

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

/// Accounts that are named.
const LARGEST: i64 = 5;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The month, such as 2026-11; default: the current one, up to now.
    #[arg(long, value_parser = month)]
    month: Option<NaiveDate>,
}

fn month(text: &str) -> Result<NaiveDate, String> {
    let day = NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d");
    day.map_err(|_| "give a month such as 2026-11".to_owned())
}

#[derive(Serialize)]
struct Costs {
    month: String,
    prices: Prices,
    days: Vec<Priced<DayUse>>,
    total: Priced<Use>,
    largest: Vec<Priced<AccountUse>>,
}

#[derive(Serialize)]
struct Priced<T> {
    #[serde(flatten)]
    of: T,
    price: f64,
}

/// Prints the costs by day, and the largest accounts.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let first = arguments.month.unwrap_or_else(|| Utc::now().date_naive().with_day(1).unwrap_or_default());
    let next = first.checked_add_months(Months::new(1)).context("the month is out of range")?;
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let (from, to) = (midnight(first), midnight(next).min(Utc::now()));
    let days_of_month = u32::try_from((next - first).num_days())?;
    let prices = config.prices;
    let uploads = Uploads { put_limit: config.put_limit, part_bytes: PART_BYTES, most_parts: MOST_PARTS };
    let mut connection = connect::once(&connect::state(config)?).await?;
    let (days, largest) = if from < to {
        let days = cost::days(&mut connection, from, to, &uploads).await?;
        (days, cost::largest(&mut connection, from, to, &uploads, LARGEST).await?)
    } else {
        Default::default()
    };
    connection.close().await?;
    let mut total = Use::default();
    days.iter().for_each(|day| total.add(&day.used));
    let price = |used: &Use| used.price(&prices, days_of_month);
    let costs = Costs {
        month: first.format("%Y-%m").to_string(),
        prices,
        total: Priced { of: total, price: price(&total) },
        days: days.into_iter().map(|day| Priced { price: price(&day.used), of: day }).collect(),
        largest: largest.into_iter().map(|one| Priced { price: price(&one.used), of: one }).collect(),
    };
    output.write(&costs, |costs, out| human(costs, to, out))?;
    Ok(ExitStatus::Success)
}

fn human(costs: &Costs, to: DateTime<Utc>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "Archives in the store in {}, up to {}", costs.month, to.format("%Y-%m-%d %H:%M UTC"))?;
    writeln!(
        out,
        "\n{:<12}{:>10}{:>12}{:>10}{:>10}{:>16}{:>12}",
        "day", "archives", "GiB days", "puts", "gets", "downloaded GiB", "price"
    )?;
    let line = |out: &mut dyn Write, name: &str, used: &Use, price: f64| {
        writeln!(
            out,
            "{name:<12}{:>10}{:>12.3}{:>10}{:>10}{:>16.3}{price:>12.4}",
            used.archives, used.gib_days, used.puts, used.gets, used.downloaded_gib
        )
    };
    for day in &costs.days {
        line(out, &day.of.day.to_string(), &day.of.used, day.price)?;
    }
    line(out, "total", &costs.total.of, costs.total.price)?;
    if !costs.largest.is_empty() {
        writeln!(out, "\nThe accounts that took most space:")?;
    }
    for account in &costs.largest {
        let AccountUse { user_id, used } = &account.of;
        writeln!(
            out,
            "{user_id}: {} archives, {:.3} GiB days, price {:.4}",
            used.archives, used.gib_days, account.price
        )?;
    }
    let Prices { gib_month, puts_1000, gets_1000, egress_gib } = costs.prices;
    writeln!(
        out,
        "\nPrices: {gib_month} a GiB and month, {puts_1000} for 1,000 puts, {gets_1000} for 1,000 gets, {egress_gib} a GiB \
         downloaded (EXPORT_PRICE_*).\nA download that began at the portal counts as one of the whole archive. Not counted: downloads by the links in \
         rows, listings, and what the nights read back."
    )
}
