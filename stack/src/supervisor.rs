//! The process that starts every server and stops them all when its master is gone.
//!
//! Its master (a test run, the demo, `make up`) talks to it over a pipe. The supervisor stops when the pipe closes,
//! which happens however the master dies. So a master killed with `kill -9` leaves nothing behind. A master that wants
//! its servers to outlive it calls [`Supervisor::keep`]; then [`record::stop`] ends them.

pub mod protocol;
pub mod record;
pub mod serve;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use self::protocol::{Answer, Ending, Order, Program, Signal};
use crate::{tools, wait};

/// The master's end of the pipe. Dropping it stops everything and waits until it has stopped.
#[derive(Debug)]
pub struct Supervisor {
    folder: PathBuf,
    pipe: Mutex<Option<Pipe>>,
}

#[derive(Debug)]
struct Pipe {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    kept: bool,
}

impl Supervisor {
    /// Starts a supervisor that owns `folder`; fails if another one owns it.
    pub fn start(folder: &Path) -> anyhow::Result<Arc<Self>> {
        // PostgreSQL's own user must pass through this folder. Secrets in it have their own permissions.
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to make the folder `{}`", folder.display()))?;
        let errors = folder.join("supervisor.log");
        let errors =
            fs::File::create(&errors).with_context(|| format!("failed to make `{}`", errors.display()))?;
        let program = tools::stack_program()?;
        let mut command = Command::new(&program);
        command.arg("supervise").arg(folder).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        tools::clean_environment(|name| {
            command.env_remove(name);
        });
        let mut child =
            command.spawn().with_context(|| format!("failed to start `{}`", program.display()))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the supervisor has no pipes");
        };
        let mut pipe = Pipe { child, orders, answers: BufReader::new(answers), kept: false };
        pipe.hear()?;
        Ok(Arc::new(Self { folder: folder.to_owned(), pipe: Mutex::new(Some(pipe)) }))
    }

    /// Returns the folder that the supervisor owns.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a program. It runs until it ends, gets a signal, or the supervisor stops.
    pub fn run(self: &Arc<Self>, program: Program) -> anyhow::Result<Process> {
        let name = program.name.clone();
        let log = self.folder.join("logs").join(format!("{name}.log"));
        let log_start = fs::metadata(&log).map_or(0, |metadata| metadata.len());
        match self.ask(&Order::Start(program))? {
            Answer::Started(pid) => {
                Ok(Process { supervisor: Arc::clone(self), name, pid, log, log_start, kill_on_drop: false })
            }
            other => bail!("the supervisor answered `{other:?}` to the start of `{name}`"),
        }
    }

    /// Starts a program and waits until it has succeeded.
    pub async fn finish(self: &Arc<Self>, program: Program, bound: Duration) -> anyhow::Result<()> {
        let process = self.run(program)?;
        let ending = process.ended(bound).await?;
        if !ending.is_success() {
            bail!("`{}` ended with {ending}; {}", process.name, process.last_words());
        }
        Ok(())
    }

    /// Sets the folders to remove after everything has stopped.
    pub fn throw_away(&self, paths: Vec<PathBuf>) -> anyhow::Result<()> {
        self.ask(&Order::ThrowAway(paths)).map(drop)
    }

    /// Keeps everything running after this process, until [`record::stop`].
    pub fn keep(&self) -> anyhow::Result<()> {
        self.ask(&Order::Keep)?;
        if let Some(pipe) = self.pipe.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            pipe.kept = true;
        }
        Ok(())
    }

    /// Stops everything and waits until it has stopped. A kept supervisor continues.
    pub fn stop(&self) -> anyhow::Result<()> {
        let pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Pipe { mut child, orders, answers, kept }) = pipe else { return Ok(()) };
        drop((orders, answers));
        if kept {
            return Ok(());
        }
        let end = Instant::now() + record::STOP_BOUND;
        while child.try_wait().context("failed to wait for the supervisor")?.is_none() {
            if Instant::now() > end {
                bail!("the supervisor did not stop within {} s", record::STOP_BOUND.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn ask(&self, order: &Order) -> anyhow::Result<Answer> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = pipe.as_mut().context("the supervisor was stopped")?;
        let mut line = serde_json::to_vec(order).context("failed to write an order")?;
        line.push(b'\n');
        pipe.orders.write_all(&line).context("failed to give the supervisor an order")?;
        pipe.hear()
    }
}

impl Pipe {
    fn hear(&mut self) -> anyhow::Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("failed to hear the supervisor")?;
        if line.is_empty() {
            bail!("the supervisor is gone");
        }
        match serde_json::from_str(&line).context("failed to understand the supervisor")? {
            Answer::Failed(why) => bail!(why),
            answer => Ok(answer),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The error has no reader here, and the supervisor stops anyway.
        let _ = self.stop();
    }
}

/// One program that the supervisor started.
#[derive(Debug)]
pub struct Process {
    supervisor: Arc<Supervisor>,
    name: String,
    pid: u32,
    log: PathBuf,
    log_start: u64,
    kill_on_drop: bool,
}

impl Process {
    /// Returns the name that it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns its log file, which holds its standard output and standard error.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns the output of this run of the program so far.
    pub fn output(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(0).min(log.len());
        String::from_utf8_lossy(&log[start..]).into_owned()
    }

    /// Returns the path of the log and its last lines, for an error message.
    pub fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(12)..].join("\n  ");
        format!("its log `{}` ends with\n  {tail}", self.log.display())
    }

    /// Makes the drop of this value kill the process.
    #[must_use]
    pub fn kill_on_drop(mut self) -> Self {
        self.kill_on_drop = true;
        self
    }

    /// Returns how it ended; `None` while it runs.
    pub fn ending(&self) -> anyhow::Result<Option<Ending>> {
        match self.supervisor.ask(&Order::Status(self.name.clone()))? {
            Answer::Ended(ending) => Ok(Some(ending)),
            _ => Ok(None),
        }
    }

    /// Fails if the process has ended, with the last lines of its log.
    pub fn check_alive(&self) -> anyhow::Result<()> {
        match self.ending()? {
            Some(ending) => bail!("`{}` ended with {ending}; {}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    /// Waits until it has ended.
    pub async fn ended(&self, bound: Duration) -> anyhow::Result<Ending> {
        wait::until(&format!("`{}` ends", self.name), bound, || async { self.ending() }).await
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.supervisor.ask(&Order::Signal(self.name.clone(), signal)).map(drop)
    }

    /// Asks it to stop, kills it if it does not, and returns how it ended.
    pub async fn stop(&self, ask: Signal) -> anyhow::Result<Ending> {
        self.signal(ask)?;
        match self.ended(record::GRACE).await {
            Ok(ending) => Ok(ending),
            Err(_) => {
                self.signal(Signal::Kill)?;
                self.ended(record::GRACE).await
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill_on_drop {
            // Without a supervisor the process is gone too.
            let _ = self.signal(Signal::Kill);
        }
    }
}
