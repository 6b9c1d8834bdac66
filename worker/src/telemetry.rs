//! Sets up the log: human on a terminal, JSON otherwise, on standard error, so that output can be piped.
//!
//! Targets that see credentials, statements and row values are capped at `info`, whatever `RUST_LOG` sets. The cap is a
//! separate second filter, so no directive can lift it, however specific.

use std::{io::IsTerminal as _, panic::PanicHookInfo};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::LogFormat;

/// Targets whose lines below `info` contain headers, statements or values.
const CAPPED: [&str; 4] = ["aws_", "hyper", "sqlx", "rustls"];
/// PostgreSQL's own messages, which may quote a row. Our own lines log their codes.
const SILENT: &str = "sqlx::postgres::notice";
/// Pollers warn on each retry of an outage. The probe already reports the loss and the return of Temporal once each.
const RETRY: &str = "temporalio_client::retry";

/// Starts logging at the level `default`, unless `RUST_LOG` sets another.
pub fn init(format: LogFormat, default: LevelFilter) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().with_default_directive(default.into()).from_env().map_err(|error| {
        anyhow::anyhow!("RUST_LOG cannot be read ({error}): set it to a level such as info")
    })?;
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        layer.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(may_be_logged))
        .with(layer)
        .try_init()
        .map_err(|error| anyhow::anyhow!("failed to start logging: {error}"))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Logs the location of a panic, never its message, which may hold a row value. The default hook would print it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    tracing::error!(
        panic.location = location,
        thread.name = thread,
        "A panic at {location} on thread `{thread}`: a bug in the code there, please report it"
    );
}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let (target, level) = (metadata.target(), metadata.level());
    if target.starts_with(SILENT) {
        return false;
    }
    if CAPPED.iter().any(|prefix| target.starts_with(prefix)) {
        return *level <= Level::INFO;
    }
    if target.starts_with(RETRY) {
        return *level <= Level::ERROR;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_never_with_its_message() {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let value = "alice@example.org";
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let line = line!() + 2;
        let caught = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            std::panic::catch_unwind(|| panic!("the row of {value} was odd"))
        });
        std::panic::set_hook(before);
        // The message is there to be printed, which is what the default hook does.
        assert!(caught.unwrap_err().downcast_ref::<String>().unwrap().contains(value));
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let thread = std::thread::current();
        let thread = format!("on thread `{}`", thread.name().unwrap());
        for part in [" ERROR ", &format!("{}:{line}:", file!()), &thread] {
            assert!(text.contains(part), "`{part}` is missing in {text}");
        }
        assert!(!text.contains("alice") && !text.contains("odd"), "{text}");
    }

    #[test]
    fn rust_log_cannot_lift_the_cap_on_targets_that_see_secrets() {
        let sink = Sink::default();
        let writer = sink.clone();
        let filter = EnvFilter::new("trace,aws_config=trace,hyper_util=debug,sqlx::query=debug");
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_logged)).with(layer);
        tracing::subscriber::with_default(registry, || {
            tracing::debug!(target: "aws_config::profile", "secret one");
            tracing::trace!(target: "hyper_util::client", "secret two");
            tracing::debug!(target: "sqlx::query", "secret three");
            tracing::warn!(target: "sqlx::postgres::notice", "secret four");
            tracing::warn!(target: "temporalio_client::retry", "noise");
            tracing::error!(target: "temporalio_client::retry", "poll failed");
            tracing::info!(target: "aws_config", "told");
            tracing::debug!(target: "export_worker", "own");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("secret") && !text.contains("noise"), "{text}");
        assert!(text.contains("told") && text.contains("own") && text.contains("poll failed"), "{text}");
    }
}
