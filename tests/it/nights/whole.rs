//! Whole nights: the production binary on a separate queue, from pending rows to archives that verify.

use export_stack::{
    platform::{self, SeedOptions},
    wait,
};
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{Nights, SOON},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_night_fulfils_every_request_fails_the_unknown_user_and_its_archives_verify() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let seeded = platform::seed(&nights.owner, &SeedOptions::default()).await.unwrap();
    let mut requests = Vec::new();
    for user in &seeded.users {
        requests.push(nights.request(*user).await);
    }
    let unknown = nights.request(Uuid::new_v4()).await;

    let night = nights.night().await;

    for request in &requests {
        assert_eq!(nights.status(*request).await, ("ready".to_owned(), None));
    }
    assert_eq!(nights.status(unknown).await, ("failed".to_owned(), Some("account_deleted".to_owned())));
    let text = night.to_string();
    assert!(text.contains(&format!("\"fulfilled\":{}", requests.len())), "{text}");
    assert!(text.contains("\"account_deleted\":1"), "{text}");

    nights.assert_sound(requests.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_over_a_catalogue_that_no_longer_fits_fails_before_the_first_request_and_touches_no_row() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let request = nights.request(Uuid::new_v4()).await;
    sqlx::raw_sql("alter table public.releases drop column notes").execute(&nights.owner).await.unwrap();

    let error = format!("{:#}", nights.try_night().await.unwrap_err());
    assert!(error.contains("notes"), "{error}");
    assert_eq!(nights.status(request).await, ("pending".to_owned(), None));
    assert_eq!(nights.counted(request).await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_request_and_that_of_a_deleted_account_fail_in_the_night_and_their_archives_go() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let seeded = platform::seed(&nights.owner, &SeedOptions::default()).await.unwrap();
    let request = nights.request(seeded.lonely).await;
    let gone = given::user(&nights.owner).await;
    let request_of_gone = nights.request(gone).await;
    nights.night().await;
    sqlx::query("delete from public.users where id = $1").bind(gone).execute(&nights.owner).await.unwrap();
    sqlx::query("update public.data_export_requests set expires_at = now() - interval '1 s' where id = $1")
        .bind(request)
        .execute(&nights.owner)
        .await
        .unwrap();
    let shown: (String, Option<String>) = sqlx::query_as(
        "select status, download_url from public.data_export_requests_effective where id = $1",
    )
    .bind(request)
    .fetch_one(&nights.owner)
    .await
    .unwrap();
    assert_eq!(shown, ("failed".to_owned(), None), "the view is exact to the second");

    let report = nights.night().await;
    assert_eq!(
        (&report["result"]["expired"], &report["result"]["revoked"]),
        (&1.into(), &1.into()),
        "{report}"
    );
    assert_eq!(nights.status(request).await, ("failed".to_owned(), Some("expired".to_owned())));
    let revoked = ("failed".to_owned(), Some("account_deleted".to_owned()));
    assert_eq!(nights.status(request_of_gone).await, revoked);
    wait::until("the archive to be deleted", SOON, || async {
        let deleted: bool = sqlx::query_scalar(
            "select object_deleted_at is not null from public.data_export_requests where id = $1",
        )
        .bind(request)
        .fetch_one(&nights.owner)
        .await?;
        Ok(deleted.then_some(()))
    })
    .await
    .unwrap();
    let events: Vec<String> =
        sqlx::query_scalar("select kind from public.data_export_events where request_id = $1 order by id")
            .bind(request)
            .fetch_all(&nights.owner)
            .await
            .unwrap();
    assert_eq!(events, ["requested", "ready", "failed", "object_deleted"]);
    nights.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_credential_or_row_value_of_a_night_with_failures_is_in_histories_logs_or_rows() {
    let nights = Nights::new().await;
    // The more is logged, the more could slip through.
    let worker = nights.worker(&[("RUST_LOG", "debug")]).await;
    let seeded = platform::seed(&nights.owner, &SeedOptions::default()).await.unwrap();
    let mut requests = Vec::new();
    for user in seeded.users.iter().copied().chain([Uuid::new_v4()]) {
        requests.push(nights.request(user).await);
    }
    nights.night().await;

    let histories = nights.histories().await;
    assert!(
        histories.contains("fulfil_export_request") && histories.contains("account_deleted"),
        "{histories}"
    );
    let log = worker.output();
    for request in &requests {
        let ended = ["ended as", "failed: "].map(|how| format!("Request {request} {how}"));
        assert!(ended.iter().any(|line| log.contains(line)), "the log misses the end of request {request}");
    }
    let errors: Vec<String> = sqlx::query_scalar(
        "select last_error from public.data_export_requests where last_error is not null
         union all select e::text from public.data_export_events e",
    )
    .fetch_all(&nights.owner)
    .await
    .unwrap();
    // Every text cell of the seed holds a marker; every link holds its signature.
    let secret = nights.environment["AWS_SECRET_ACCESS_KEY"].as_str();
    let password = nights.environment["EXPORT_SOURCE_URL"].split(['@', ':']).nth(2).unwrap();
    for (place, text) in [("histories", &histories), ("log", &log), ("rows", &errors.join("\n"))] {
        for word in ["mk-", "X-Amz-", secret, password] {
            assert!(!text.contains(word), "`{word}` is in the {place}");
        }
    }
    // The negative control: what is searched for does exist where it belongs.
    let urls: Vec<String> = sqlx::query_scalar(
        "select download_url from public.data_export_requests where download_url is not null",
    )
    .fetch_all(&nights.owner)
    .await
    .unwrap();
    assert!(urls.len() == seeded.users.len() && urls.iter().all(|url| url.contains("X-Amz-")));
    let names: String = sqlx::query_scalar("select string_agg(full_name, ' ') from public.users")
        .fetch_one(&nights.owner)
        .await
        .unwrap();
    assert!(names.contains("mk-"), "{names}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_a_step_names_its_request_and_its_run() {
    let nights = Nights::new().await;
    let worker = nights.worker(&[]).await;
    let request = nights.request(Uuid::new_v4()).await;
    nights.night().await;
    let runs = nights.runs("nightly_batch").await;
    let first_run = &runs.last().unwrap().run_id;
    let log = worker.output();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &serde_json::Value| {
            line["target"].as_str().is_some_and(|target| target.starts_with("export_activities"))
                && line["message"].as_str().is_some_and(|message| message.starts_with("Request"))
        })
        .collect();
    assert!(lines.len() >= 2, "{log}");
    for line in lines {
        let spans = line["spans"].as_array().unwrap();
        let span = spans.iter().find(|span| span["name"] == "fulfil").unwrap();
        assert_eq!(span["request.id"], request.to_string(), "{line}");
        assert_eq!(span["run.id"], **first_run, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_input_ends_its_run_and_a_wrong_one_names_the_field() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let full = r#"{"night": "2026-03-01", "look": 1, "page": 0, "cutoff": null, "cursor": null,
        "counters": {"fulfilled": 3}, "started_at": "2026-03-01T01:00:00Z", "pending_at_start": 7}"#;
    let forms: [(&str, &[&str], Option<&str>); 14] = [
        ("nightly_batch", &[], None),
        ("nightly_batch", &["null"], None),
        ("nightly_batch", &["{}"], None),
        ("nightly_batch", &[full], None),
        ("nightly_batch", &[r#"{"look": "two"}"#], Some("`look`")),
        ("nightly_batch", &[r#"{"lok": 2}"#], Some("`lok`")),
        ("nightly_batch", &[r#"{"counters": {"fulfilled": -1}}"#], Some("`counters.fulfilled`")),
        ("nightly_batch", &["{}", "{}"], Some("2 were given")),
        ("nightly_batch", &[r#"{"steering": {"window": 0}}"#], Some("`steering.window`")),
        ("nightly_batch", &["[]"], Some("a list was given")),
        ("nightly_batch", &[r#"{"look": 7}"#], Some("`look`")),
        ("nightly_batch", &[r#"{"night": "9999-01-01"}"#], Some("`night`")),
        ("nightly_batch", &[r#"{"cutoff": "1999-01-01T00:00:00Z"}"#], Some("`cutoff`")),
        ("export_expiry", &[r#"{"accounts": true}"#], Some("`accounts`")),
    ];
    let queue = nights.environment["EXPORT_TASK_QUEUE"].as_str();
    for (number, (workflow_type, inputs, refused)) in forms.into_iter().enumerate() {
        let id = format!("form-{number}");
        let mut arguments = vec!["workflow", "start", "--type", workflow_type, "--task-queue", queue];
        arguments.extend(["--workflow-id", &id]);
        for input in inputs {
            arguments.extend(["--input", input]);
        }
        nights.temporal(&arguments).await;
        let ended = wait::until("the run to end", SOON, || async {
            let run = nights.temporal(&["workflow", "describe", "--workflow-id", &id]).await;
            let status = run["workflowExecutionInfo"]["status"].as_str().unwrap().to_owned();
            Ok((!status.ends_with("RUNNING") && !status.ends_with("CONTINUED_AS_NEW")).then_some(status))
        });
        let ended = ended.await.unwrap();
        let Some(named) = refused else {
            assert_eq!(ended, "WORKFLOW_EXECUTION_STATUS_COMPLETED", "{inputs:?}");
            continue;
        };
        assert_eq!(ended, "WORKFLOW_EXECUTION_STATUS_FAILED", "{inputs:?}");
        let history = nights.temporal(&["workflow", "show", "--workflow-id", &id]).await;
        let last = history["events"].as_array().unwrap().last().unwrap();
        let failure = &last["workflowExecutionFailedEventAttributes"]["failure"];
        assert_eq!(failure["applicationFailureInfo"]["type"], "invalid_input", "{failure}");
        assert!(failure["message"].as_str().unwrap().contains(named), "{failure}");
    }
}

/// Returns the most memory that a process has ever used, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_an_export_does_not_follow_its_rows() {
    let nights = Nights::new().await;
    let worker = nights.worker(&[]).await;
    let options = SeedOptions { heavy_runs: 100_000, markers: false, ..SeedOptions::default() };
    let seeded = platform::seed(&nights.owner, &options).await.unwrap();
    for user in seeded.users.iter().filter(|user| **user != seeded.heavy).take(8) {
        nights.request(*user).await;
    }
    nights.night().await;
    let light = peak_memory(worker.pid());
    let heavy = nights.request(seeded.heavy).await;
    nights.night().await;
    let grown = peak_memory(worker.pid()) - light;

    let (bytes, rows): (i64, i64) = sqlx::query_as(
        "select archive_bytes, (row_counts ->> 'pipeline_runs')::bigint from public.data_export_requests where id = $1",
    )
    .bind(heavy)
    .fetch_one(&nights.owner)
    .await
    .unwrap();
    assert!(
        rows >= 100_000 && bytes > 10 << 20,
        "the control: {rows} rows, {bytes} bytes are no heavy export"
    );
    // The queues, a put of at most 16 MiB and the blocks on their way; the rows alone are several times that.
    assert!(grown < 48 << 20, "{rows} rows cost {grown} bytes of memory beyond {light}");
}
