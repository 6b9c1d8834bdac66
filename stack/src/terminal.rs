//! The output of the stack's commands.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Prints a line on the standard output.
pub fn say(line: impl std::fmt::Display) {
    // If the terminal is gone, the command must still stop the processes that it started.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes a number with commas between its thousands.
pub fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digits.as_bytes()[at - 1] != b'-' {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Runs one step of a command and prints its duration.
pub async fn step<T>(what: &str, doing: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let started = Instant::now();
    let spinner =
        if std::io::stdout().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(std::time::Duration::from_millis(120));
    let done = doing.await;
    spinner.finish_and_clear();
    if done.is_ok() {
        say(format_args!("{what:<64} {:>5.1} s", started.elapsed().as_secs_f64()));
    }
    done
}

/// A progress bar; plain lines without a terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    total: u64,
    said: u64,
}

impl Bar {
    /// Makes an empty bar.
    pub fn new(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template("  {bar:40} {pos:>3} of {len}  {elapsed}  {msg}") {
            bar.set_style(style);
        }
        Self { bar, total, said: 0 }
    }

    /// Shows the number of things that are done now.
    pub fn show(&mut self, done: u64, message: String) {
        if self.bar.is_hidden() && done > self.said && (done - self.said) * 5 >= self.total {
            say(format_args!("  {done} of {}  {message}", self.total));
            self.said = done;
        }
        self.bar.set_position(done);
        self.bar.set_message(message);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
