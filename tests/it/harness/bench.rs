//! The bench measures on an installation as it is.

use std::{collections::BTreeMap, process::Command};

use export_stack::tools;

use crate::support::{installation_of as given, night_of::Nights};

/// Runs one measurement of the bench and returns its result.
fn measured(environment: &BTreeMap<String, String>, arguments: &[&str]) -> serde_json::Value {
    let program = tools::worker_program().unwrap().with_file_name("export-bench");
    let output = Command::new(program).arg("measured").args(arguments).envs(environment).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bench_counts_round_trips_and_leaves_the_bucket_where_it_was() {
    let nights = Nights::new().await;
    let measure = async |requests: usize, arguments: &'static [&'static str]| {
        for _ in 0..requests {
            nights.request(given::user(&nights.owner).await).await;
        }
        let environment = nights.environment.clone();
        tokio::task::spawn_blocking(move || measured(&environment, arguments)).await.unwrap()
    };
    assert_eq!(measure(1, &["activity", "--at-once", "1"]).await["count"], 1);
    let did = measure(3, &["trips", "--warm", "1"]).await;
    let trips = did["round_trips"].as_f64().unwrap();
    assert!((8.0..=20.0).contains(&trips), "{did}");
    assert_eq!(did["count"], 2, "{did}");
    // Without the proxies, the same bucket serves the next request.
    assert_eq!(measure(1, &["activity", "--at-once", "1"]).await["count"], 1);
    let all = "select count(*) from public.data_export_requests where status = 'ready'";
    let ready: i64 = sqlx::query_scalar(all).fetch_one(&nights.owner).await.unwrap();
    assert_eq!(ready, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_bench_runs_to_its_end_and_compares_each_goal() {
    let bench = || {
        let program = tools::worker_program().unwrap().with_file_name("export-bench");
        Command::new(program)
            .args(["export", "--runs", "40", "--repeats", "1", "--small", "12"])
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(bench).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for goal in 1..=10 {
        assert!(
            said.lines().any(|line| line.contains(&format!(" P{goal} "))),
            "P{goal} is missing in {said}"
        );
    }
}
