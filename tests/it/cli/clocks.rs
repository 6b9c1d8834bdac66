//! A worker whose clock differs from the database's reports it at start, and does not serve while links would be wrong.

use std::{collections::BTreeMap, process::Command};

use export_stack::{supervisor::Process, wait};

use crate::support::night_of::{Nights, SOON, until_said};

/// Returns the variables under which a program believes another time, as `faketime` sets them.
fn believing(time: &str) -> BTreeMap<String, String> {
    let env = Command::new("faketime").args(["-f", time, "env"]).env_clear().env("PATH", path()).output();
    let env = env.expect("`faketime` is missing: run `tools/setup readers`");
    let env = String::from_utf8(env.stdout).unwrap();
    let pairs = env.lines().filter_map(|line| line.split_once('='));
    let pairs = pairs.filter(|(name, _)| ["LD_PRELOAD", "FAKETIME"].contains(name));
    let mut variables: BTreeMap<_, _> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(variables.len(), 2, "{env}");
    // Only the date is wrong; what is waited for takes as long as ever.
    variables.insert("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned());
    variables
}

fn path() -> String {
    std::env::var("PATH").unwrap()
}

async fn worker(nights: &Nights, time: &str) -> Process {
    let variables = believing(time);
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    nights.worker(&variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_before_a_database_whose_clock_is_a_minute_and_more_away() {
    let nights = Nights::new().await;
    for (time, which) in [("+90s", "behind"), ("-90s", "ahead of")] {
        let worker = worker(&nights, time).await;
        let line = format!(
            "Waiting for the database: its clock is 60 s or more {which} this worker's: synchronise both"
        );
        until_said(&worker, &line).await;
        assert!(!worker.output().contains("Polling task queue"), "{}", worker.last_words());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_calls_a_person_and_serves_when_the_clocks_are_seconds_apart() {
    let nights = Nights::new().await;
    let apart = worker(&nights, "+15s").await;
    until_said(
        &apart,
        "The database is reachable, but its clock is 5 s or more behind this worker's: synchronise both",
    )
    .await;
    until_said(&apart, "Polling task queue").await;
    let lines = apart.output();
    let line = lines.lines().find(|line| line.contains("The database is reachable, but")).unwrap();
    assert!(line.contains("\"level\":\"ERROR\""), "{line}");

    // The control: a right clock is not reported.
    let right = worker(&nights, "+0s").await;
    wait::until("a worker that serves", SOON, || async {
        right.check_alive()?;
        Ok(right.output().contains("Polling task queue").then_some(()))
    })
    .await
    .unwrap();
    assert!(!right.output().contains("clock"), "{}", right.last_words());
}
