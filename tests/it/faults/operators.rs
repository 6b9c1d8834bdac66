//! Nights in the hands of operators who do anything at any moment, while workers and servers come and go. In the end
//! everything is healed, one quiet night runs, and the checker judges what is left.
//!
//! One round of a smaller night is part of every test run; `make operators ROUNDS=20` runs twenty of 300 requests.
//! `OPERATORS_SEED` repeats the choice of operations.

mod hands;
mod plan;

use std::{
    env, fmt,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use export_stack::{
    instruments::checker::{self, Findings, Resting},
    wait,
};
use futures::FutureExt as _;
use serde_json::Value;
use uuid::Uuid;

use self::{
    hands::{CONNECTIONS, Hands, SLOTS},
    plan::plan,
};
use crate::support::night_of::SOON;

/// How long a night is disturbed.
const LENGTH: Duration = Duration::from_secs(20);
const OPERATIONS: usize = 14;
/// How long the nights may continue when all is healed: thirty seconds of a killed worker's heartbeat, a lease, and the
/// retries after faults.
const AFTERMATH: Duration = Duration::from_secs(240);

/// What came of one round.
struct Round {
    seed: u64,
    requests: i32,
    /// How many were served while they were disturbed.
    served: i64,
    done: Vec<String>,
    took: Duration,
    wrong: Vec<String>,
    findings: Findings,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, requests, served, done, took, wrong, .. } = self;
        let (count, seconds, done_so) = (done.len(), took.as_secs(), done.join(", "));
        write!(
            f,
            "OPERATORS_SEED={seed}: {requests} requests, {served} served while disturbed, {count} operations "
        )?;
        write!(f, "[{done_so}], {seconds} s, {} wrong", wrong.len())
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the harness of tests shows it when the round fails, and `make operators` always"
)]
fn say(line: &dyn fmt::Display) {
    println!("{line}");
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("`{name}` is no number: {text}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_operators_do_to_a_night_each_request_is_served_exactly_once() {
    let rounds = number("OPERATORS_ROUNDS");
    let requests = if rounds.is_some() { 300 } else { 80 };
    let first =
        number("OPERATORS_SEED").unwrap_or_else(|| u64::from(Uuid::new_v4().as_fields().0 % 1_000_000));
    let (mut wrong, mut operations, count) = (0, 0, rounds.unwrap_or(1));
    for seed in first..first + count {
        say(&format_args!("OPERATORS_SEED={seed}: begins"));
        // A round that panics is a wrong outcome, and no reason to leave the others out.
        let Ok(round) = AssertUnwindSafe(round(seed, requests)).catch_unwind().await else {
            wrong += 1;
            continue;
        };
        say(&round);
        if !round.wrong.is_empty() {
            say(&round.wrong.join("\n"));
            say(&round.findings);
        }
        wrong += round.wrong.len();
        operations += round.done.len();
    }
    let total = i64::from(requests) * i64::try_from(count).unwrap();
    say(&format_args!("{count} rounds, {total} requests, {operations} operations, {wrong} wrong outcomes"));
    assert_eq!(wrong, 0);
}

async fn round(seed: u64, requests: i32) -> Round {
    let began = Instant::now();
    // All slots of both workers together take the whole time for all requests.
    let pace = LENGTH.mul_f64(2.0 * SLOTS as f64 / f64::from(requests));
    let mut hands = Hands::new(pace).await;
    hands.nights.requests(requests).await;
    hands.slow_down();
    hands.nights.begin_night().await;
    let done = disturb(&mut hands, seed).await;
    let served = hands.nights.ready().await;
    let mut findings = Findings::default();
    let judged = judge(&mut hands, &mut findings).await;
    if let Err(error) = judged {
        hands.wrong.push(format!("{error:#}"));
    }
    let mut wrong = std::mem::take(&mut hands.wrong);
    wrong.extend(findings.broken.iter().map(|(invariant, what)| format!("{invariant:?}: {what}")));
    Round { seed, requests, served, done, took: began.elapsed(), wrong, findings }
}

/// Runs each step of the plan at its time. Returns the steps that were done, and the refused ones in parentheses.
async fn disturb(hands: &mut Hands, seed: u64) -> Vec<String> {
    let began = Instant::now();
    let mut done = Vec::new();
    for step in plan(seed, OPERATIONS, LENGTH) {
        wait::until("the moment", LENGTH * 2, || async { Ok((began.elapsed() >= step.at).then_some(())) })
            .await
            .unwrap();
        done.push(match hands.perform(&step).await {
            Ok(()) => step.operation.to_string(),
            Err(_) => format!("({})", step.operation),
        });
    }
    done
}

/// Heals everything, runs a quiet night, and looks at everything that is left.
async fn judge(hands: &mut Hands, findings: &mut Findings) -> anyhow::Result<()> {
    hands.heal().await?;
    let nights = &hands.nights;
    wait::until("all nights to end", AFTERMATH, || async {
        let runs = nights.runs("nightly_batch").await;
        Ok(runs.iter().all(|run| run.status != "RUNNING").then_some(()))
    })
    .await?;
    let report: Value = serde_json::from_str(&nights.try_night().await?)?;
    let left = ["deferred", "given_up_tonight"].map(|count| report["result"][count].as_u64().unwrap_or(0));
    if left != [0, 0] {
        hands.wrong.push(format!("the quiet night left something: {report}"));
    }
    let rows: Vec<(Uuid, String, i32, String)> = sqlx::query_as(
        "select id, concat_ws(', ', status, failure_reason), attempts, coalesce(last_error, '')
         from public.data_export_requests",
    )
    .fetch_all(&nights.owner)
    .await?;
    for (id, state, attempts, last_error) in rows {
        let wanted = if hands.revoked.contains(&id) { "failed, revoked" } else { "ready" };
        if state != wanted || attempts != 0 {
            hands.wrong.push(format!("request {id} is {state} after {attempts} attempts: {last_error}"));
        }
    }
    let (pids, spool) =
        (hands.workers.each_ref().map(|worker| worker.pid()), hands.folder.path().join("spool"));
    let resting = Resting { pids: &pids, spool: &spool, connections: 2 * CONNECTIONS };
    nights.sweep_everything_unclaimed().await;
    findings.extend(settled(async || checker::check_resting(&nights.subject, &resting).await).await?);
    findings.extend(checker::check(&nights.subject).await?);
    hands.stop().await;
    let (subject, tmp) = (&hands.nights.subject, hands.folder.path().join("tmp"));
    findings.extend(settled(async || checker::check_ended(subject, &[&spool, &tmp]).await).await?);
    Ok(())
}

/// Judges until nothing is found, or for a while: a server notices a moment later that its client is gone.
async fn settled(judge: impl AsyncFn() -> anyhow::Result<Findings>) -> anyhow::Result<Findings> {
    let good = wait::until("nothing to be left", SOON, || async {
        let findings = judge().await?;
        Ok(findings.broken.is_empty().then_some(findings))
    });
    match good.await {
        Ok(findings) => Ok(findings),
        Err(_) => judge().await,
    }
}
