//! The CPU and memory of a process, from `/proc`.

use anyhow::Context as _;
use procfs::process::Process;

/// Returns the CPU seconds, in user mode and in the kernel, of a process and all its descendants, also of ended ones.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut ticks = 0;
    let mut family = vec![i32::try_from(pid).context("a process id is out of range")?];
    while let Some(pid) = family.pop() {
        // The parent counts a process that has ended in the meantime.
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

/// The current and peak memory of a process, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub now: u64,
    /// Peak (`VmHWM`).
    pub peak: u64,
}

/// Reads the memory of a process.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let pid = i32::try_from(pid).context("a process id is out of range")?;
    let status = Process::new(pid).and_then(|process| process.status());
    let status = status.with_context(|| format!("failed to inspect process {pid}"))?;
    let mebibytes = |kibibytes: Option<u64>| kibibytes.unwrap_or(0) / 1024;
    Ok(Memory { now: mebibytes(status.vmrss), peak: mebibytes(status.vmhwm) })
}

/// Returns the peak memory of a process or one of its descendants, in MiB; 0 if the process is gone.
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

/// Returns the CPU seconds of the ended children of this process and their descendants.
pub fn ended_children_cpu_seconds() -> anyhow::Result<f64> {
    let stat =
        Process::myself().and_then(|process| process.stat()).context("failed to inspect this process")?;
    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds")]
    Ok((stat.cutime + stat.cstime) as f64 / procfs::ticks_per_second() as f64)
}
