//! The files of a supervisor in its folder, by which others find it or the processes that it left running.
//!
//! `lock` is held as long as the supervisor lives: the kernel releases it however the process ends. `processes.json`
//! names each process by its id *and* its start time, so that a reused process id is never touched.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::protocol::Signal;
use crate::{servers::private, wait};

/// The longest time to stop everything a supervisor started, and to remove tens of gigabytes after a heavy bench.
pub const STOP_BOUND: Duration = Duration::from_secs(300);

/// The longest time that a process gets to end by itself before it is killed.
pub const GRACE: Duration = Duration::from_secs(15);

/// The contents of `processes.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The supervisor.
    pub supervisor: u32,
    /// The process that started it, its master.
    pub master: Option<Born>,
    /// Whether it continues without its master.
    pub kept: bool,
    /// The processes that it started, in that order.
    pub processes: Vec<Born>,
    /// The folders to remove at the end.
    pub throw_away: Vec<PathBuf>,
}

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Born {
    /// Its name here.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// The boot of the machine and the tick at which the process started.
    pub born: String,
    /// The signal that asks it to stop.
    pub stop_with: Signal,
}

impl Born {
    /// Describes a process that was just started.
    pub fn of(name: &str, pid: u32, stop_with: Signal) -> Self {
        let born = birth(pid).unwrap_or_default();
        Self { name: name.to_owned(), pid, born, stop_with }
    }

    /// Returns whether exactly this process still runs.
    pub fn is_alive(&self) -> bool {
        birth(self.pid).is_some_and(|born| born == self.born)
    }
}

/// Reads from Linux's process table when a process started; `None` if it is gone or a zombie.
fn birth(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let tick = fields.nth(18)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{}/{tick}", boot.trim()))
}

/// Takes the folder for as long as the returned file is open; `None` if another supervisor has it.
pub fn lock(folder: &Path) -> anyhow::Result<Option<fs::File>> {
    let path = folder.join("lock");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("failed to open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("failed to lock `{}`", path.display()))
        }
    }
}

impl Record {
    /// Returns whether the supervisor is about to stop by itself, because its master is gone.
    pub fn is_abandoned(&self) -> bool {
        !self.kept && !self.master.as_ref().is_some_and(Born::is_alive)
    }

    /// Writes the record into the supervisor's folder.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("failed to write down the processes")?;
        private::write(&folder.join("processes.json"), &text)
    }

    /// Reads the record in a folder, if there is one.
    fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join("processes.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("failed to read `{}`", path.display())),
        };
        let record =
            serde_json::from_slice(&text).with_context(|| format!("failed to read `{}`", path.display()))?;
        Ok(Some(record))
    }
}

/// Returns the record of the supervisor that has this folder now, if there is one.
pub async fn owner(folder: &Path) -> anyhow::Result<Option<Record>> {
    if !folder.join("lock").exists() {
        return Ok(None);
    }
    wait::until("a supervisor writes its record", Duration::from_secs(5), || async {
        if lock(folder)?.is_some() {
            return Ok(Some(None));
        }
        // A supervisor that has just taken the folder has not written its record yet.
        let record = Record::read(folder)?;
        Ok(record.filter(|record| Path::new(&format!("/proc/{}", record.supervisor)).exists()).map(Some))
    })
    .await
}

/// Stops the supervisor that has this folder, or the processes that a killed one left. Returns whether there was
/// anything to stop.
pub async fn stop(folder: &Path) -> anyhow::Result<bool> {
    let owned = owner(folder).await?;
    if let Some(record) = &owned {
        // It may have ended before the signal, which is fine.
        let _ = Signal::Terminate.send(record.supervisor);
        wait::until("the supervisor stops what it started", STOP_BOUND, || async {
            Ok((!folder.exists() || lock(folder)?.is_some()).then_some(()))
        })
        .await?;
    }
    let leftovers = stop_leftovers(folder).await?;
    Ok(owned.is_some() || leftovers)
}

/// Stops the processes of a supervisor that is gone, the last started first.
async fn stop_leftovers(folder: &Path) -> anyhow::Result<bool> {
    let Some(record) = Record::read(folder)? else { return Ok(false) };
    let mut found = false;
    for process in record.processes.iter().rev().filter(|process| process.is_alive()) {
        found = true;
        let gone = || async { Ok((!process.is_alive()).then_some(())) };
        let _ = process.stop_with.send(process.pid);
        if wait::until("a process ends", GRACE, gone).await.is_err() {
            let _ = Signal::Kill.send(process.pid);
            wait::until(&format!("`{}` is killed", process.name), GRACE, gone).await?;
        }
    }
    for path in &record.throw_away {
        remove(path)?;
    }
    if folder.exists() {
        Record::default().write(folder)?;
    }
    Ok(found)
}

/// Removes a folder with all its contents, if it exists.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_given_to_another_process_is_not_the_same_process() {
        let me = Born::of("me", std::process::id(), Signal::Terminate);
        assert!(me.is_alive());
        assert!(!Born { born: "another boot/1".to_owned(), ..me }.is_alive());
    }

    #[tokio::test]
    async fn a_folder_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        assert!(held.is_some());
        assert!(lock(folder.path()).unwrap().is_none());
        drop(held);
        // A process that another test is starting holds the lock too, until it becomes its program.
        let again = || async { lock(folder.path()) };
        wait::until("the folder is free again", GRACE, again).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_killed_supervisor_left_is_stopped_and_a_stranger_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut left = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let record = Record {
            processes: vec![
                Born::of("left", left.id(), Signal::Terminate),
                Born { born: "earlier/1".to_owned(), ..Born::of("old", stranger.id(), Signal::Terminate) },
            ],
            ..Record::default()
        };
        record.write(folder.path()).unwrap();

        assert!(stop(folder.path()).await.unwrap());
        assert!(!left.wait().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none());
        assert!(!stop(folder.path()).await.unwrap());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
