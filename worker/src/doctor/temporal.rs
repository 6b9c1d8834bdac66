//! Temporal: it is reachable, a worker polls the task queue, and both schedules match their definitions.

use export_activities::search_attributes;
use temporalio_client::NamespacedClient as _;

use super::Line;
use crate::{
    codec,
    config::Config,
    connect::{
        self,
        explain::{self, Explained},
    },
    temporal::{night, schedule},
};

const ATTRIBUTES: &str = "search attributes";

/// Checks Temporal.
pub(super) async fn examine(config: &Config, lines: &mut Vec<Line>) {
    let useless = connect::profile::without_effect(connect::temporal_profile());
    lines.extend(useless.into_iter().map(|explained| Line::warning("Temporal's settings", explained)));
    lines.extend(encryption(config));
    let client = match connect::temporal(config).await {
        Ok(client) => client,
        Err(error) => {
            lines.push(Line::failed("Temporal", explain::temporal(&error)));
            lines.push(Line::skipped("worker", "Temporal does not answer"));
            lines.push(Line::skipped("schedules", "Temporal does not answer"));
            return;
        }
    };
    // A connection alone proves nothing about the namespace, so send a request that uses it.
    let polling = night::worker_is_polling(&client, &config.task_queue).await;
    match polling {
        Ok(polling) => {
            lines.push(Line::ok("Temporal", format!("namespace `{}` answers", client.namespace())));
            lines.push(if polling {
                Line::ok("worker", format!("polls task queue `{}`", config.task_queue))
            } else {
                let cause = format!("no worker polls task queue `{}`", config.task_queue);
                let remedy = "start `export-worker run` with the same EXPORT_TASK_QUEUE and namespace";
                Line::warning("worker", Explained::new(cause, remedy))
            });
        }
        Err(error) => {
            lines.push(Line::failed("Temporal", explain::temporal(&error)));
            lines.push(Line::skipped("worker", "the namespace does not answer"));
            lines.push(Line::skipped("schedules", "the namespace does not answer"));
            return;
        }
    }
    lines.push(match search_attributes::missing(&client).await {
        Ok(missing) if missing.is_empty() => {
            Line::ok(ATTRIBUTES, "nights are found by date and failures".to_owned())
        }
        Ok(missing) => {
            let cause = format!("the server does not know {}", missing.join(" and "));
            Line::warning(ATTRIBUTES, Explained::new(cause, "run `export-worker schedule apply`"))
        }
        Err(error) => {
            let remedy = format!("ask an administrator of Temporal to run `{}`", search_attributes::COMMAND);
            Line::warning(ATTRIBUTES, Explained::new(format!("{error:#}"), remedy))
        }
    });
    match schedule::show(&client, &config.task_queue).await {
        Ok(states) => lines.extend(states.iter().map(judge)),
        Err(error) => lines.push(Line::failed("schedules", explain::temporal(&error))),
    }
}

/// Reports whether payloads are encrypted. Returns `None` if encryption is not configured.
fn encryption(config: &Config) -> Option<Line> {
    const CHECK: &str = "encryption";
    let file = config.codec.key_file.as_deref()?;
    Some(match config.codec.codec() {
        Err(error) => {
            Line::failed(CHECK, Explained::new(error.to_string(), "fix the file; `run` refuses it"))
        }
        Ok(_) if let Some(codec::Exposed(mode)) = codec::exposed(file) => Line::warning(
            CHECK,
            Explained::new(
                format!("everybody on this machine may read `{}` (mode {mode:o})", file.display()),
                "chmod 600 it, or 640 for the group of the worker",
            ),
        ),
        Ok(_) => {
            Line::ok(CHECK, format!("payloads are encrypted with the first key of `{}`", file.display()))
        }
    })
}

fn judge(state: &schedule::ScheduleStatus) -> Line {
    const CHECK: &str = "schedules";
    let id = &state.id;
    match state.trouble() {
        Some(trouble) if state.as_defined => return Line::warning(CHECK, trouble),
        Some(trouble) => return Line::failed(CHECK, trouble),
        None => {}
    }
    let next = state.next.map(|at| at.to_rfc3339()).unwrap_or_default();
    Line::ok(CHECK, format!("`{id}` fires next at {next}"))
}
