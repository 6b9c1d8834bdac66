//! Monitoring of a running worker: counts without names, readiness in a sentence, and no false report.

use std::{collections::BTreeSet, time::Duration};

use export_stack::{
    instruments::proxy::{Mode, Proxy},
    platform::{self, SeedOptions},
    wait,
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{Nights, SOON},
    servers::proxied,
    watched::{ANYWHERE, Watched, has_line},
};

/// Returns the value of the one series that begins so.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(series));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// Returns every label of our own metrics and of the SDK's, with its texts.
fn labels(text: &str) -> BTreeSet<(String, String)> {
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let inside = series.filter_map(|line| line.split_once('{')?.1.rsplit_once('}'));
    let pairs = inside.flat_map(|(labels, _)| labels.split("\",").map(str::to_owned).collect::<Vec<_>>());
    pairs
        .filter_map(|pair| {
            let (name, text) = pair.split_once("=\"")?;
            Some((name.to_owned(), text.trim_end_matches('"').to_owned()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_is_counted_by_outcome_and_reason_and_no_label_names_anybody() {
    let nights = Nights::new().await;
    let seeded = platform::seed(&nights.owner, &SeedOptions::default()).await.unwrap();
    let delivered = seeded.users.len();
    for user in seeded.users.iter().copied().chain([Uuid::new_v4()]) {
        nights.request(user).await;
    }
    sqlx::raw_sql("alter table public.users add column shoe_size int").execute(&nights.owner).await.unwrap();
    let worker = nights.worker(&[ANYWHERE]).await;
    let watched = Watched::of(&worker).await;
    watched.until_line(&format!("export_pending_requests {}", delivered + 1)).await;
    watched.until_line("export_pollers{queue=\"exports\"} 1").await;
    let before = watched.metrics().await;
    for line in [
        "export_requests_total{outcome=\"fulfilled\",reason=\"\"} 0",
        "export_unclassified_columns 1",
        "export_schedule_paused{schedule=\"nightly_batch\"} 1",
        "export_undeleted_seconds 0",
        "export_brake_holds{brake=\"sweep\"} 0",
        "export_brake_holds{brake=\"accounts_gone\"} 0",
        "export_schedule_as_defined{schedule=\"export_expiry\"} 1",
        "export_overdue_seconds 0",
    ] {
        assert!(has_line(&before, line), "`{line}` is missing in {before}");
    }

    nights.night().await;
    watched.until_line(&format!("export_ready_requests {delivered}")).await;
    let after = watched.metrics().await;
    for line in [
        format!("export_requests_total{{outcome=\"fulfilled\",reason=\"\"}} {delivered}"),
        "export_requests_total{outcome=\"failed\",reason=\"account_deleted\"} 1".to_owned(),
        format!("export_step_seconds_count{{step=\"archive\"}} {delivered}"),
        format!("export_step_seconds_count{{step=\"upload\"}} {delivered}"),
        format!("export_step_seconds_count{{step=\"ready\"}} {delivered}"),
        "export_pending_requests 0".to_owned(),
        "export_oldest_pending_seconds 0".to_owned(),
        "export_oldest_unanswered_seconds 0".to_owned(),
        "export_spool_bytes 0".to_owned(),
    ] {
        assert!(has_line(&after, &line), "`{line}` is missing in {after}");
    }
    let sums: (i64, i64) = sqlx::query_as(
        "select sum(archive_bytes)::bigint, sum(n.value::bigint)::bigint
         from public.data_export_events e, lateral (
             select sum(v.value::bigint) as value from jsonb_each_text(e.row_counts) v) n
         where kind = 'ready'",
    )
    .fetch_one(&nights.owner)
    .await
    .unwrap();
    assert_eq!(value(&after, "export_archive_bytes_total ") as i64, sums.0);
    assert_eq!(value(&after, "export_rows_total ") as i64, sums.1);
    assert!(value(&after, "temporal_activity_execution_latency_seconds_count{") > 0.0, "{after}");

    // The SDK's own labels are looked at too; the names of its queue and namespace are the operator's.
    let secret = nights.environment["AWS_SECRET_ACCESS_KEY"].as_str();
    let installation = [&nights.environment["TEMPORAL_NAMESPACE"], &nights.environment["EXPORT_TASK_QUEUE"]];
    for (name, text) in labels(&after) {
        if installation.iter().any(|own| text.starts_with(own.as_str())) {
            continue;
        }
        assert!(!names_somebody(&text), "label {name} is `{text}`");
    }
    for word in ["mk-", "X-Amz-", secret] {
        assert!(!after.contains(word), "`{word}` is in {after}");
    }
    // The control: the search finds these texts where they do occur.
    let request: Uuid = sqlx::query_scalar("select id from public.data_export_requests limit 1")
        .fetch_one(&nights.owner)
        .await
        .unwrap();
    let broken = labels(&format!("a{{queue=\"exports\",request=\"{request}\"}} 1"));
    assert_eq!(broken.iter().filter(|(_, text)| names_somebody(text)).count(), 1, "{broken:?}");
}

/// Returns whether a text has an id or an address in it.
fn names_somebody(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.contains('@') || text.split(['-', '/', ':', '_']).any(|part| part.len() > 7 && is_hex(part))
}

/// Puts a proxy before the server of a variable.
async fn before(nights: &mut Nights, variable: &str, prefix: &str) -> Proxy {
    let (proxy, url) = proxied(&format!("{prefix}{}", nights.environment[variable])).await;
    let address = url.strip_prefix(prefix).unwrap().trim_end_matches('/').to_owned();
    nights.environment.insert(variable.to_owned(), address);
    proxy
}

/// Returns the names of our metrics and of alerts' paragraphs that a text has.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '#' | '-' | '/' | '.'));
    words.filter(|word| word.starts_with(prefix)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_use_metrics_that_exist_and_each_alert_has_a_paragraph() {
    let file = |path: &str| std::fs::read_to_string(export_stack::tools::root().join(path)).unwrap();
    let (alerts, dashboard, runbook) =
        (file("temporal/alerts.yml"), file("temporal/dashboard.json"), file("docs/OPERATIONS.md"));
    let nights = Nights::new().await;
    let worker = nights.worker(&[ANYWHERE]).await;
    let watched = Watched::of(&worker).await;
    watched.until_ready(StatusCode::OK, "serves").await;
    nights.night().await;
    let asked: BTreeSet<&str> =
        [&alerts, &dashboard].into_iter().flat_map(|text| words(text, "export_")).collect();
    let asked: Vec<_> = asked.into_iter().filter(|name| !["export_expiry"].contains(name)).collect();
    assert!(asked.len() > 15, "{asked:?}");
    wait::until("every metric that is asked for", SOON, || async {
        let told = watched.metrics().await;
        let missing = asked.iter().find(|name| !told.contains(&format!("\n{name}")));
        Ok(missing.is_none().then_some(()))
    })
    .await
    .unwrap_or_else(|error| panic!("{error}: {asked:?}"));

    let headings: BTreeSet<String> = runbook
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| format!("docs/OPERATIONS.md#{}", anchor(line)))
        .collect();
    let paragraphs = words(&alerts, "docs/OPERATIONS.md#");
    assert_eq!(alerts.matches("- alert:").count(), alerts.matches("runbook:").count());
    for paragraph in &paragraphs {
        assert!(headings.contains(*paragraph), "`{paragraph}` is not in the runbook");
    }
    assert!(paragraphs.len() > 8 && !headings.contains("docs/OPERATIONS.md#nothing"));
}

/// Returns the anchor that a heading gets where Markdown is shown.
fn anchor(heading: &str) -> String {
    heading.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-")
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_what_is_waited_for_and_the_process_lives_all_the_while() {
    let mut nights = Nights::new().await;
    let database = before(&mut nights, "EXPORT_DATABASE_URL", "").await;
    let temporal = before(&mut nights, "TEMPORAL_ADDRESS", "http://").await;
    database.set(Mode::Cut);
    temporal.set(Mode::Cut);
    let worker = nights.worker(&[ANYWHERE]).await;
    let watched = Watched::of(&worker).await;

    watched.until_ready(StatusCode::SERVICE_UNAVAILABLE, "Waiting for the database: ").await;
    let early = watched.metrics().await;
    assert!(
        early.contains("export_requests_total{") && !early.contains("export_pending_requests"),
        "{early}"
    );
    database.set(Mode::Pass);
    watched.until_ready(StatusCode::SERVICE_UNAVAILABLE, "Waiting for Temporal: ").await;
    temporal.set(Mode::Pass);
    watched.until_ready(StatusCode::OK, "The worker serves").await;
    temporal.set(Mode::Cut);
    watched.until_ready(StatusCode::SERVICE_UNAVAILABLE, "Waiting for Temporal: it no longer answers").await;
    temporal.set(Mode::Pass);
    watched.until_ready(StatusCode::OK, "The worker serves").await;
    assert_eq!(watched.get("/livez").await.0, StatusCode::OK);
    assert_eq!(watched.get("/anything").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_write_archives_is_not_ready_until_it_can_again() {
    let nights = Nights::new().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let worker = nights.worker(&[ANYWHERE, ("EXPORT_SPOOL_DIR", spool.to_str().unwrap())]).await;
    let watched = Watched::of(&worker).await;
    watched.until_ready(StatusCode::OK, "The worker serves").await;

    // The control: a directory that can be made again is, and the worker stays ready.
    std::fs::remove_dir(&spool).unwrap();
    assert_eq!(watched.get("/readyz").await.0, StatusCode::OK);
    assert!(spool.is_dir());

    std::fs::remove_dir(&spool).unwrap();
    std::fs::write(&spool, "a file").unwrap();
    let said = format!("No archive can be written: failed to write to the spool `{}`", spool.display());
    watched.until_ready(StatusCode::SERVICE_UNAVAILABLE, &said).await;
    assert_eq!(watched.get("/livez").await.0, StatusCode::OK);
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.begin_night().await;
    nights
        .until("an attempt without a spool", || async {
            let sql = "select last_error from public.data_export_requests where id = $1";
            let error: Option<String> =
                sqlx::query_scalar(sql).bind(request).fetch_one(&nights.owner).await.unwrap();
            error.filter(|error| error.starts_with("system: "))
        })
        .await;

    std::fs::remove_file(&spool).unwrap();
    watched.until_ready(StatusCode::OK, "The worker serves").await;
    nights.until_ready(1).await;
    assert_eq!(nights.blamed().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_scrapes_are_one_question_and_a_database_that_is_away_leaves_its_gauges_out() {
    let mut nights = Nights::new().await;
    let database = before(&mut nights, "EXPORT_DATABASE_URL", "").await;
    nights.request(given::user(&nights.owner).await).await;
    let worker = nights.worker(&[ANYWHERE]).await;
    let watched = Watched::of(&worker).await;
    watched.until_ready(StatusCode::OK, "serves").await;

    let connections = database.connections();
    let scrapes = (0..40).map(|_| watched.metrics());
    let scrapes = futures::future::join_all(scrapes).await;
    assert!(scrapes.iter().all(|text| has_line(text, "export_pending_requests 1")));
    let asked = database.connections() - connections;
    assert!((1..=2).contains(&asked), "forty scrapes made {asked} connections");

    database.set(Mode::BlackHole);
    wait::until("the gauges to go", SOON, || async {
        let begun = std::time::Instant::now();
        let text = watched.metrics().await;
        assert!(begun.elapsed() < Duration::from_secs(8), "a scrape waited for a database that is away");
        assert!(text.contains("export_requests_total{"), "what the worker itself knows stays");
        Ok((!text.contains("export_pending_requests")).then_some(()))
    })
    .await
    .unwrap();
    database.set(Mode::Pass);
    watched.until_line("export_pending_requests 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_refused_with_its_remedy() {
    let nights = Nights::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let worker = nights.worker(&[("EXPORT_HTTP_ADDR", &address)]).await;
    let ending = worker.ended(SOON).await.unwrap();
    assert!(!ending.is_success());
    let said = worker.output();
    assert!(said.contains(&address) && said.contains("EXPORT_HTTP_ADDR"), "{said}");
}
