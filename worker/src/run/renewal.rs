//! Replaces the process after a number of activities, because the SDK keeps some memory of each.

use std::{
    os::unix::process::CommandExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use temporalio_sdk::interceptors::{
    ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, Next,
};
use tokio::sync::Notify;

/// Counts the activities of this process and notifies `due` when the process should be replaced.
#[derive(Clone)]
pub(super) struct Renewal {
    left: Arc<AtomicU64>,
    pub(super) due: Arc<Notify>,
}

impl Renewal {
    pub(super) fn after(activities: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(activities)), due: Arc::default() }
    }

    fn count(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.due.notify_one();
        }
    }
}

impl ActivityInboundInterceptor for Renewal {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        self.count();
        next.run(input)
    }
}

/// Replaces this process with a new one of the same program, arguments and environment. Returns only on failure.
///
/// Dropping the SDK's worker does not free its memory. The process id stays the same, so a supervisor sees no restart.
pub(super) fn restart() -> std::io::Error {
    // The running program, even if the file at its path has been replaced.
    let itself =
        if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() };
    let mut arguments = std::env::args_os();
    match itself {
        Ok(path) => {
            let mut command = std::process::Command::new(path);
            command.arg0(arguments.next().unwrap_or_else(|| "export-worker".into())).args(arguments).exec()
        }
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_renewal_is_due_once_after_its_number_of_activities() {
        let renewal = Renewal::after(3);
        renewal.count();
        renewal.count();
        assert!(tokio::time::timeout(std::time::Duration::ZERO, renewal.due.notified()).await.is_err());
        renewal.count();
        renewal.due.notified().await;
    }
}
