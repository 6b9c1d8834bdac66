//! The protocol on the supervisor's standard input and output: one JSON document per line, one answer per order.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// An order to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Start this program; answered with [`Answer::Started`].
    Start(Program),
    /// Report whether the program of this name runs; answered with [`Answer::Running`] or [`Answer::Ended`].
    Status(String),
    /// Send this signal to the program of this name, if it still runs; answered with [`Answer::Done`].
    Signal(String, Signal),
    /// Remove these folders after everything has stopped; answered with [`Answer::Done`].
    ThrowAway(Vec<PathBuf>),
    /// Continue after the end of the standard input, until SIGTERM; answered with [`Answer::Done`].
    Keep,
}

/// An answer of the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The first line: the supervisor owns the folder now.
    Ready,
    /// The program was started under this process id.
    Started(u32),
    /// The program runs.
    Running,
    /// The program has ended.
    Ended(Ending),
    /// The order was carried out.
    Done,
    /// The order failed, and why.
    Failed(String),
}

/// A program to start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Program {
    /// Unique within the supervisor; also the name of its log file.
    pub name: String,
    /// The executable file.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables added to the supervisor's own environment.
    pub environment: BTreeMap<String, String>,
    /// The working directory; the supervisor's folder if there is none.
    pub directory: Option<PathBuf>,
    /// The user and group to run as, which only root may choose.
    pub user: Option<(u32, u32)>,
    /// The signal that asks it to stop.
    pub stop_with: Signal,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Ending {
    /// Returns whether the program ended with code 0.
    pub fn is_success(self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => write!(f, "an unknown status"),
        }
    }
}

/// The signals that the supervisor can send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// SIGTERM.
    #[default]
    Terminate,
    /// SIGINT: PostgreSQL's "fast" stop, which does not wait for its clients.
    Interrupt,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

impl Signal {
    /// Returns the name without `SIG`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }

    /// Sends the signal to a process.
    pub fn send(self, pid: u32) -> std::io::Result<()> {
        use rustix::process::Signal as Number;
        let number = match self {
            Self::Terminate => Number::TERM,
            Self::Interrupt => Number::INT,
            Self::Kill => Number::KILL,
            Self::Stop => Number::STOP,
            Self::Continue => Number::CONT,
        };
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(rustix::process::kill_process(pid, number)?)
    }
}
