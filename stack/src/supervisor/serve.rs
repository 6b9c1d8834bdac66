//! The supervisor process: starts programs on order and stops them all when its master is gone.
//!
//! It stops when its standard input ends, which happens however the master dies, also by `kill -9`. After the order to
//! keep running it stops only on SIGTERM. It runs in a separate process group, so that a Ctrl-C in the terminal reaches
//! its master and not the servers.

use std::{
    fs,
    io::{self, BufRead as _, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    protocol::{Answer, Ending, Order, Program, Signal},
    record::{self, Born, GRACE, Record},
};
use crate::{servers::private, tools};

struct Running {
    program: Program,
    child: Child,
}

struct Serving {
    folder: PathBuf,
    /// The program that makes the kernel stop a server if this process is killed. Not every system has it.
    setpriv: Option<PathBuf>,
    running: Vec<Running>,
    record: Record,
}

/// Serves the orders on standard input until its master is gone. Must run on the thread that lives as long as the
/// process, because the kernel stops the servers when the thread that started them ends.
pub async fn serve(folder: &Path) -> anyhow::Result<()> {
    let Some(_lock) = record::lock(folder)? else {
        let text = format!("the folder `{}` belongs to another running stack", folder.display());
        return answer(&Answer::Failed(text));
    };
    let mut serving = Serving {
        folder: folder.to_owned(),
        setpriv: tools::on_path("setpriv"),
        running: Vec::new(),
        record: Record { supervisor: std::process::id(), master: master(), ..Record::default() },
    };
    serving.write_record()?;
    let logs = folder.join("logs");
    record::remove(&logs)?;
    private::folder(&logs)?;
    answer(&Answer::Ready)?;
    let listened = serving.listen().await;
    serving.stop_all().await;
    listened
}

fn master() -> Option<Born> {
    let pid = rustix::process::getppid()?.as_raw_nonzero().get();
    Some(Born::of("master", u32::try_from(pid).ok()?, Signal::Terminate))
}

fn answer(answer: &Answer) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(answer).context("failed to write an answer")?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).context("failed to answer")
}

/// Returns the lines of the standard input. The channel closes at its end.
fn orders() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    // A separate thread, because a blocking read cannot be cancelled when a signal comes first.
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Serving {
    async fn listen(&mut self) -> anyhow::Result<()> {
        let mut orders = orders();
        let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
        // Ignore the end of the terminal: the master gets the signal too, and its end closes the pipe.
        let mut hangup = signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?;
        let mut deaf = false;
        loop {
            tokio::select! {
                line = orders.recv(), if !deaf => match line {
                    Some(line) => {
                        let order = serde_json::from_str(&line).context("failed to understand an order")?;
                        let said = match self.obey(order) {
                            Ok(said) => said,
                            Err(error) => Answer::Failed(format!("{error:#}")),
                        };
                        answer(&said)?;
                    }
                    None if self.record.kept => deaf = true,
                    None => return Ok(()),
                },
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => {}
            }
        }
    }

    fn obey(&mut self, order: Order) -> anyhow::Result<Answer> {
        match order {
            Order::Start(program) => return self.start(program).map(Answer::Started),
            Order::Status(name) => {
                let ending = self.find(&name)?.child.try_wait().context("failed to inspect a process")?;
                return Ok(ending.map_or(Answer::Running, |status| Answer::Ended(ending_of(status))));
            }
            Order::Signal(name, signal) => send(self.find(&name)?, signal),
            Order::ThrowAway(paths) => {
                self.record.throw_away = paths;
                self.write_record()?;
            }
            Order::Keep => {
                self.record.kept = true;
                self.write_record()?;
            }
        }
        Ok(Answer::Done)
    }

    fn find(&mut self, name: &str) -> anyhow::Result<&mut Running> {
        let found = self.running.iter_mut().find(|running| running.program.name == name);
        found.with_context(|| format!("there is no process `{name}` here"))
    }

    fn start(&mut self, program: Program) -> anyhow::Result<u32> {
        // A program that has ended may be restarted under the same name.
        if let Some(at) = self.running.iter().position(|running| running.program.name == program.name) {
            let ended = self.running[at].child.try_wait().context("failed to inspect a process")?;
            anyhow::ensure!(ended.is_some(), "`{}` runs already", program.name);
            self.running.remove(at);
        }
        let child =
            self.spawn(&program).with_context(|| format!("failed to start `{}`", program.path.display()))?;
        let pid = child.id().context("a process ended before it had an id")?;
        self.running.push(Running { program, child });
        self.write_record()?;
        Ok(pid)
    }

    fn spawn(&self, program: &Program) -> anyhow::Result<Child> {
        let path = self.folder.join("logs").join(format!("{}.log", program.name));
        let log = fs::OpenOptions::new().append(true).create(true).open(&path);
        let log = log.with_context(|| format!("failed to open `{}`", path.display()))?;
        let mut command = match &self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", program.stop_with.name(), "--"]).arg(&program.path);
                command
            }
            None => Command::new(&program.path),
        };
        command
            .args(&program.arguments)
            .envs(&program.environment)
            .current_dir(program.directory.as_deref().unwrap_or(&self.folder))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("failed to share a log file")?)
            .stderr(log)
            .process_group(0);
        if let Some((user, group)) = program.user {
            command.uid(user).gid(group);
        }
        Ok(command.spawn()?)
    }

    fn write_record(&mut self) -> anyhow::Result<()> {
        let known = std::mem::take(&mut self.record.processes);
        for running in &self.running {
            let Some(pid) = running.child.id() else { continue };
            let born =
                known.iter().find(|born| born.pid == pid && born.name == running.program.name).cloned();
            let born =
                born.unwrap_or_else(|| Born::of(&running.program.name, pid, running.program.stop_with));
            self.record.processes.push(born);
        }
        self.record.write(&self.folder)
    }

    /// Stops everything, the last started first, because the later ones use the earlier ones.
    async fn stop_all(&mut self) {
        for running in self.running.iter_mut().rev() {
            let signal = running.program.stop_with;
            send(running, signal);
            if tokio::time::timeout(GRACE, running.child.wait()).await.is_err() {
                send(running, Signal::Kill);
                let _ = running.child.wait().await;
            }
        }
        for path in std::mem::take(&mut self.record.throw_away) {
            if let Err(error) = record::remove(&path) {
                let _ = writeln!(io::stderr(), "{error:#}");
            }
        }
        self.running.clear();
        if self.folder.exists() {
            let _ = self.write_record();
        }
    }
}

/// Sends a signal to a child that was not waited for yet, so that its id cannot belong to another process.
fn send(running: &mut Running, signal: Signal) {
    if let Some(pid) = running.child.id() {
        let _ = signal.send(pid);
    }
}

fn ending_of(status: std::process::ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt as _;
    Ending { code: status.code(), signal: status.signal() }
}
