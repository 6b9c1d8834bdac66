//! The needs of `run` before its first connection: variables, files, and the address of the metrics.

use std::{io::ErrorKind, net::TcpListener};

use super::Line;
use crate::{config::Config, connect::explain::Explained, run};

const CHECK: &str = "start";
const METRICS: &str = "metrics address";

/// Checks for causes that would keep `run` from starting.
pub(super) fn examine(config: &Config, lines: &mut Vec<Line>) {
    let problems =
        [config.require_for_run().err(), run::settings(config).err().and_then(|error| error.downcast().ok())];
    let problems: Vec<String> = problems.into_iter().flatten().flat_map(|error| error.problems).collect();
    lines.push(if problems.is_empty() {
        Line::ok(CHECK, "every variable and file that `run` needs is there")
    } else {
        Line::failed(CHECK, Explained::new(problems.join("; "), "set the variables that it names"))
    });
    lines.extend(metrics_address(config));
}

/// If a worker runs on this machine, it holds the address, and `/metrics` answers.
fn metrics_address(config: &Config) -> Option<Line> {
    let address = config.http_addr?;
    Some(match TcpListener::bind(address) {
        Ok(_) => Line::ok(METRICS, format!("{address} is free for `run`")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let cause = format!("{address} is taken on this machine");
            let remedy = "nothing if `export-worker run` has it; else set EXPORT_HTTP_ADDR to a free port";
            Line::warning(METRICS, Explained::new(cause, remedy))
        }
        Err(error) => {
            let cause = format!("`run` cannot listen at {address} ({error})");
            let remedy = "set EXPORT_HTTP_ADDR to an address of this machine and a free port";
            Line::failed(METRICS, Explained::new(cause, remedy))
        }
    })
}
