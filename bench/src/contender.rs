//! Runs one contender as a process and measures its cost and the cost of the servers.

use std::{
    ffi::OsStr,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::measured::Did;
use export_stack::{processes, stack::Stack, tools};

/// How often the memory of a contender is read. The kernel keeps the highest value, so only the last read counts.
const LOOK: Duration = Duration::from_millis(20);

/// The code of `bench/peers/peer` for a peer that is not installed (`EX_UNAVAILABLE`).
const UNAVAILABLE: i32 = 69;

/// The cost of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// Seconds from start to end of the process.
    pub(crate) wall: f64,
    /// CPU seconds of the process.
    pub(crate) own: f64,
    /// CPU seconds of PostgreSQL in this time.
    pub(crate) postgres: f64,
    /// CPU seconds of the store in this time.
    pub(crate) store: f64,
    /// The peak of its memory, in MiB.
    pub(crate) peak: u64,
    /// The work that it reports.
    pub(crate) did: Did,
}

/// Makes a command without the settings of the caller's environment.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    tools::clean_environment(|name| {
        command.env_remove(name);
    });
    command
}

/// Runs it to its end. Returns none if it is not installed.
pub(crate) async fn run(stack: &Stack, mut command: Command) -> anyhow::Result<Option<Cost>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let what = format!("{:?}", command.as_std().get_program());
    let before = servers(stack)?;
    let ended_before = processes::ended_children_cpu_seconds()?;
    let began = Instant::now();
    let child = command.spawn().with_context(|| format!("failed to start {what}"))?;
    let pid = child.id().context("a contender has no process id")?;
    let mut peak = 0;
    let mut waiting = std::pin::pin!(child.wait_with_output());
    let output = loop {
        tokio::select! {
            output = &mut waiting => break output.with_context(|| format!("failed to wait for {what}"))?,
            () = tokio::time::sleep(LOOK) => peak = peak.max(processes::family_peak(pid)),
        }
    };
    let wall = began.elapsed().as_secs_f64();
    let own = processes::ended_children_cpu_seconds()? - ended_before;
    let after = servers(stack)?;
    if output.status.code() == Some(UNAVAILABLE) {
        return Ok(None);
    }
    if !output.status.success() {
        bail!("{what} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let did = said.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    Ok(Some(Cost { wall, own, postgres: after[0] - before[0], store: after[1] - before[1], peak, did }))
}

/// Returns the CPU seconds so far of PostgreSQL and of the store.
fn servers(stack: &Stack) -> anyhow::Result<[f64; 2]> {
    let cpu = |name: &str| {
        let server = stack.processes().iter().find(|process| process.name() == name);
        let server = server.with_context(|| format!("the stack has no server `{name}`"))?;
        processes::cpu_seconds(server.pid())
    };
    Ok([cpu("postgres")?, cpu("versitygw")?])
}
