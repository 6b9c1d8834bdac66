//! What a process costs: its CPU and its memory, from `/proc`.

use anyhow::Context as _;
use procfs::process::Process;

/// CPU seconds, in user mode and in the kernel, of a process, its children and theirs, those included that have ended.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut ticks = 0;
    let mut family = vec![i32::try_from(pid).context("a process id is out of range")?];
    while let Some(pid) = family.pop() {
        // One that has ended meanwhile is counted by its parent.
        let Ok(process) = Process::new(pid) else { continue };
        let Ok(stat) = process.stat() else { continue };
        let ended = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
        ticks += stat.utime + stat.stime + ended;
        let Ok(threads) = process.tasks() else { continue };
        for thread in threads.flatten() {
            family.extend(
                thread.children().unwrap_or_default().into_iter().filter_map(|pid| i32::try_from(pid).ok()),
            );
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds")]
    Ok(ticks as f64 / procfs::ticks_per_second() as f64)
}

/// The memory that a process holds now and has held at most, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub now: u64,
    /// At most (`VmHWM`).
    pub peak: u64,
}

/// Reads the memory of a process.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let pid = i32::try_from(pid).context("a process id is out of range")?;
    let status = Process::new(pid).and_then(|process| process.status());
    let status = status.with_context(|| format!("failed to look at process {pid}"))?;
    let mebibytes = |kibibytes: Option<u64>| kibibytes.unwrap_or(0) / 1024;
    Ok(Memory { now: mebibytes(status.vmrss), peak: mebibytes(status.vmhwm) })
}

/// Gives the most memory that a process, or one of its descendants, has held, in MiB; 0 when it is gone.
pub fn family_peak(pid: u32) -> u64 {
    let mut peak = 0;
    let mut family = vec![pid];
    while let Some(pid) = family.pop() {
        peak = peak.max(memory(pid).map_or(0, |memory| memory.peak));
        let Ok(process) = i32::try_from(pid).map_err(drop).and_then(|pid| Process::new(pid).map_err(drop))
        else {
            continue;
        };
        let Ok(threads) = process.tasks() else { continue };
        for thread in threads.flatten() {
            family.extend(thread.children().unwrap_or_default());
        }
    }
    peak
}

/// CPU seconds of the children of this process that have ended, and of theirs.
pub fn ended_children_cpu_seconds() -> anyhow::Result<f64> {
    let stat =
        Process::myself().and_then(|process| process.stat()).context("failed to look at this process")?;
    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds")]
    Ok((stat.cutime + stat.cstime) as f64 / procfs::ticks_per_second() as f64)
}
