//! A worker under a hard limit of memory serves what its formula promises, whatever an account holds.
//!
//! The limit is the kernel's own on private memory (`RLIMIT_DATA`), which root and everybody else can set without a
//! cgroup: an allocation beyond it ends the worker.

use export_stack::{
    platform::{self, SeedOptions},
    processes,
    supervisor::Process,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use uuid::Uuid;

use crate::support::night_of::{Nights, SOON, until_said};

const MIB: u64 = 1 << 20;
/// What a worker holds that serves nothing, and what a slot holds beside its rows; in MiB, as in `docs/SCALE.md`.
const BASE: u64 = 80;
const SLOT: u64 = 34;
/// What Parquet files take of an export more, in MiB, as in `docs/SCALE.md`.
const PARQUET: u64 = 48;
/// So much more of its code the build of the tests has in memory than a release: 50 MiB against 35.
const UNOPTIMISED: u64 = 16;

/// Memory in MiB that a worker may hold if its largest row has the given MiB.
fn promised(slots: u64, row: u64) -> u64 {
    BASE + slots * (SLOT + 4 * row)
}

/// Starts a worker with a limit of private memory in MiB.
async fn limited(nights: &Nights, slots: u64, mebibytes: u64) -> Process {
    let worker = nights.worker(&[("EXPORT_SLOTS", &slots.to_string())]).await;
    until_said(&worker, "Polling task queue").await;
    let bytes = Some(mebibytes * MIB);
    let pid = Pid::from_raw(i32::try_from(worker.pid()).unwrap());
    prlimit(pid, Resource::Data, Rlimit { current: bytes, maximum: bytes }).unwrap();
    worker
}

/// Text that no compression makes smaller, a MiB `$1` times.
const TEXT: &str = "select repeat(string_agg(md5(random()::text), ''), $1) from generate_series(1, 32768)";

/// Creates the given number of users, each with a cell of the given MiB and a request.
async fn large_cells(nights: &Nights, users: i32, mebibytes: i32) {
    nights.requests(users).await;
    let text: String = sqlx::query_scalar(TEXT).bind(mebibytes).fetch_one(&nights.owner).await.unwrap();
    sqlx::query("update public.users set bio = $1").bind(text).execute(&nights.owner).await.unwrap();
}

/// Makes an account of 100,000 pipeline runs, a hundred of which have a cell of a MiB, and its request for these formats.
async fn heavy(nights: &Nights, formats: &str) -> Uuid {
    let options = SeedOptions { heavy_runs: 100_000, markers: false, ..SeedOptions::default() };
    let heavy = platform::seed(&nights.owner, &options).await.unwrap().heavy;
    let text: String = sqlx::query_scalar(TEXT).bind(1).fetch_one(&nights.owner).await.unwrap();
    let changed = sqlx::query(
        "update public.pipeline_runs set log_excerpt = $2 where id in (
             select r.id from public.pipeline_runs r join public.projects p on p.id = r.project_id
             where p.owner_id = $1 order by r.created_at desc limit 100)",
    );
    let changed = changed.bind(heavy).bind(text).execute(&nights.owner).await.unwrap();
    assert_eq!(changed.rows_affected(), 100);
    let sql =
        "insert into public.data_export_requests (user_id, formats) values ($1, $2::text[]) returning id";
    sqlx::query_scalar(sql).bind(heavy.to_string()).bind(formats).fetch_one(&nights.owner).await.unwrap()
}

/// Serves what is asked and returns the most memory in MiB that the worker has held.
async fn peak(nights: &Nights, worker: &Process, ready: i64) -> u64 {
    nights.begin_night().await;
    nights.until_ready(ready).await;
    let peak = processes::memory(worker.pid()).unwrap().peak;
    assert_eq!(nights.blamed().await, (0, 0));
    peak
}

/// Serves a heavy account in these formats and returns the most memory in MiB that the worker has held.
async fn heavy_peak(formats: &str) -> u64 {
    let nights = Nights::new().await;
    heavy(&nights, formats).await;
    let worker = limited(&nights, 8, 512).await;
    peak(&nights, &worker, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_account_with_a_workbook_is_served_within_128_mebibytes() {
    let peak = heavy_peak("{xlsx}").await;
    assert!(peak <= 128 + UNOPTIMISED, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_account_in_all_formats_takes_the_row_groups_of_parquet_more() {
    let peak = heavy_peak("{xlsx,parquet}").await;
    assert!(peak <= 128 + PARQUET + UNOPTIMISED, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_of_64_megabytes_in_several_slots_stay_within_the_formula() {
    let nights = Nights::new().await;
    large_cells(&nights, 4, 64).await;
    let promised = promised(4, 64);
    let worker = limited(&nights, 4, promised).await;
    let peak = peak(&nights, &worker, 4).await;
    assert!(peak <= promised, "{peak} MiB of {promised}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bytea_of_64_megabytes_whose_text_has_twice_as_many_stays_within_the_formula() {
    let nights = Nights::new().await;
    nights.requests(1).await;
    let sql = "update public.users set avatar = decode(repeat(md5(id::text), 4194304), 'hex')";
    sqlx::raw_sql(sql).execute(&nights.owner).await.unwrap();
    let promised = promised(1, 64);
    let worker = limited(&nights, 1, promised).await;
    let peak = peak(&nights, &worker, 1).await;
    assert!(peak <= promised, "{peak} MiB of {promised}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_too_little_memory_is_ended_and_its_request_is_not_lost() {
    let nights = Nights::new().await;
    large_cells(&nights, 1, 64).await;
    // Less than one row takes.
    let worker = limited(&nights, 1, 96).await;
    nights.begin_night().await;
    assert!(!worker.ended(SOON).await.unwrap().is_success());
    assert_eq!(nights.ready().await, 0);
    let _enough = limited(&nights, 1, promised(1, 64)).await;
    nights.until_ready(1).await;
    assert_eq!(
        nights.blamed().await,
        (0, 1),
        "a killed worker is counted as lost, never as the request's fault"
    );
}
