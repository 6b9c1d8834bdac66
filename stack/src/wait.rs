//! Waits on a state, with a bound. No other file of this crate waits for time to pass.
//!
//! A bound is in seconds of an idle machine. On a busy machine each second counts for less, in proportion to the load.
//! So a test that passes on an idle machine passes on a busy one, and a test that hangs still ends.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::bail;
use chrono::{DateTime, Utc};
use tokio::{task::AbortHandle, time::Instant};

/// The pause before a state is read again.
const INTERVAL: Duration = Duration::from_millis(40);
/// The maximum factor by which load extends a bound, so that every test ends.
const MOST_LOAD: f64 = 10.0;

/// The time that has passed, weighted by the load of the machine.
struct Patience {
    bound: Duration,
    used: Duration,
    last: Instant,
}

impl Patience {
    fn new(bound: Duration) -> Self {
        Self { bound, used: Duration::ZERO, last: Instant::now() }
    }

    fn renew(&mut self) {
        self.used = Duration::ZERO;
    }

    /// Waits one interval, unless the bound is used up. Returns whether it was used up.
    async fn is_over(&mut self) -> bool {
        if self.used >= self.bound {
            return true;
        }
        tokio::time::sleep(INTERVAL).await;
        let now = Instant::now();
        self.used += now.duration_since(self.last).div_f64(load_for_each_core());
        self.last = now;
        false
    }
}

/// Returns the number of tasks per core, from 1 to 10; 1 if the system does not report it.
fn load_for_each_core() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load: Option<f64> = load.and_then(|text| text.split(' ').next()?.parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (load.unwrap_or(0.0) / cores as f64).clamp(1.0, MOST_LOAD)
}

/// The load for each core, and when it was read.
type Load = (DateTime<Utc>, f64);

/// Records the load of the machine, so that times in a log can be weighed afterwards. It stops when it is dropped.
pub struct LoadRecord {
    loads: Arc<Mutex<Vec<Load>>>,
    task: AbortHandle,
}

impl LoadRecord {
    /// Records the load from now on.
    pub fn start() -> Self {
        let loads = Arc::new(Mutex::new(vec![(Utc::now(), load_for_each_core())]));
        let recorded = Arc::clone(&loads);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                lock(&recorded).push((Utc::now(), load_for_each_core()));
            }
        });
        Self { loads, task: task.abort_handle() }
    }

    /// Returns the time from `from` to `to` as an idle machine would count it.
    pub fn weighed(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
        weighed(&lock(&self.loads), from, to)
    }
}

impl Drop for LoadRecord {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each load holds until the next one; the first also holds before, and the last afterwards.
fn weighed(loads: &[Load], from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    let mut sum = Duration::ZERO;
    for (index, (at, load)) in loads.iter().enumerate() {
        let begin = if index == 0 { from } else { from.max(*at) };
        let end = loads.get(index + 1).map_or(to, |(next, _)| to.min(*next));
        sum += (end - begin).to_std().unwrap_or_default().div_f64(*load);
    }
    sum
}

/// Waits until `look` returns a value.
///
/// `look` returns `Ok(None)` for "not yet". An error ends the wait at once.
pub async fn until<T, F>(what: &str, bound: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let mut patience = Patience::new(bound);
    loop {
        if let Some(value) = look().await? {
            return Ok(value);
        }
        if patience.is_over().await {
            bail!("gave up after {} s: {what}", bound.as_secs());
        }
    }
}

/// Waits for the end of `work` as long as it progresses. Fails when `position` has returned the same value for `quiet`.
pub async fn while_moving<T, P, F>(
    what: &str,
    quiet: Duration,
    work: impl Future<Output = T>,
    mut position: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    P: PartialEq,
    F: Future<Output = P>,
{
    let watch = async {
        let (mut patience, mut last) = (Patience::new(quiet), None);
        loop {
            let position = Some(position().await);
            if position != last {
                patience.renew();
                last = position;
            }
            if patience.is_over().await {
                return;
            }
        }
    };
    tokio::select! {
        done = work => Ok(done),
        () = watch => bail!("gave up after nothing moved for {} s: {what}", quiet.as_secs()),
    }
}

/// Waits for the end of `work`, within a bound.
pub async fn within<T>(what: &str, bound: Duration, work: impl Future<Output = T>) -> anyhow::Result<T> {
    while_moving(what, bound, work, || async {}).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(9);

    #[test]
    fn each_second_counts_by_the_load_of_its_time() {
        let at = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        let loads = [(at(0), 1.0), (at(10), 2.0), (at(20), 5.0)];
        for (from, to, seconds) in [
            (0, 10, 10),
            (10, 20, 5),
            (5, 15, 7),
            (20, 30, 2),
            (0, 30, 17),
            (-5, 5, 10),
            (-9, -4, 5),
            (25, 25, 0),
        ] {
            assert_eq!(weighed(&loads, at(from), at(to)).as_secs(), seconds, "{from} to {to}");
        }
    }

    #[tokio::test]
    async fn the_wait_ends_with_the_value_the_error_or_the_bound() {
        let mut looks = 0;
        let value = until("three looks", LONG, || {
            looks += 1;
            let value = (looks == 3).then_some(looks);
            async move { Ok(value) }
        });
        assert_eq!(value.await.unwrap(), 3);

        let never = until::<(), _>("never", LONG, || async { bail!("it is gone") });
        assert_eq!(never.await.unwrap_err().to_string(), "it is gone");

        let late = until::<(), _>("the server answers", Duration::ZERO, || async { Ok(None) });
        assert_eq!(late.await.unwrap_err().to_string(), "gave up after 0 s: the server answers");
    }

    #[tokio::test]
    async fn work_that_moves_is_waited_for_and_work_that_stands_still_is_given_up() {
        const QUIET: Duration = Duration::from_millis(200);
        let mut looks = 0;
        let (done, finished) = tokio::sync::oneshot::channel();
        let mut done = Some(done);
        let position = || {
            looks += 1;
            // Longer than the bound, if progress did not renew it.
            if looks == 20
                && let Some(done) = done.take()
            {
                done.send(()).unwrap();
            }
            let looks = looks;
            async move { looks }
        };
        while_moving("slow work", QUIET, finished, position).await.unwrap().unwrap();

        let stuck = std::future::pending::<()>();
        let still = while_moving("stuck work", QUIET, stuck, || async { 1 }).await.unwrap_err();
        assert_eq!(still.to_string(), "gave up after nothing moved for 0 s: stuck work");
        let late = within("late work", Duration::ZERO, std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(late.to_string(), "gave up after nothing moved for 0 s: late work");
        assert_eq!(within("quick work", LONG, async { 7 }).await.unwrap(), 7);
    }
}
