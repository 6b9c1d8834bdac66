//! Expiry is exact in the view, follows in the table, never waits for the store, and takes archives back only from those
//! who are surely gone.

use std::time::Duration;

use export_activities::{
    passes::expire::{DELETE_WITHIN, ExpiryPass, expire},
    pulse::Pulse,
    requests::{brake, state::Trace},
};
use export_stack::{instruments::faulty_store::Fault, wait};
use export_workflows::contract::{ExpireInput, ExpireOutput};
use uuid::Uuid;

use crate::support::{
    installation_of::{self as given, Given, attempt, serve},
    servers,
};

/// Makes a request that is ready.
async fn ready(given: &Given) -> (Uuid, Uuid) {
    let user = given::user(&given.owner).await;
    let request = given::request(&given.owner, user).await;
    serve(&given.steps, &attempt(request, 1)).await.unwrap();
    (user, request)
}

async fn set_expiry(given: &Given, request: Uuid, expires_at: &str) {
    let sql = format!("update public.data_export_requests set expires_at = {expires_at} where id = $1");
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(request).execute(&given.owner).await.unwrap();
}

/// Returns status and whether there is a link, in the table and in the view.
async fn shown(given: &Given, request: Uuid) -> [(String, bool); 2] {
    let mut shown = Vec::new();
    for relation in ["data_export_requests", "data_export_requests_effective"] {
        let sql = format!("select status, download_url is not null from public.{relation} where id = $1");
        let row: (String, bool) =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(request).fetch_one(&given.owner).await.unwrap();
        shown.push(row);
    }
    shown.try_into().unwrap()
}

fn live() -> (String, bool) {
    ("ready".to_owned(), true)
}

fn dead() -> (String, bool) {
    ("failed".to_owned(), false)
}

async fn pass(given: &Given, accounts: bool, force: bool) -> ExpireOutput {
    let input = ExpireInput { accounts, force, ..Default::default() };
    pass_within(given, &input, DELETE_WITHIN).await
}

async fn pass_within(given: &Given, input: &ExpireInput, delete_within: Duration) -> ExpireOutput {
    let steps = &given.steps;
    let pass = ExpiryPass {
        state: &steps.state,
        accounts: Some((&steps.source, &*steps.catalogue)),
        store: &steps.store,
        trace: &Trace::default(),
        pulse: &Pulse::default(),
        delete_within,
    };
    expire(&pass, input).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_lives_until_the_moment_it_expires_in_table_and_view() {
    let given = given::installation().await;
    let (_, request) = ready(&given).await;
    assert_eq!(pass(&given, false, false).await, ExpireOutput::default());
    assert_eq!(shown(&given, request).await, [live(), live()], "seven days before");
    set_expiry(&given, request, "clock_timestamp() + interval '1 hour'").await;
    assert_eq!(pass(&given, false, false).await, ExpireOutput::default());
    assert_eq!(shown(&given, request).await, [live(), live()], "an hour before");
    given.assert_sound(1).await;

    // The very moment: no later statement can run before it.
    set_expiry(&given, request, "clock_timestamp()").await;
    assert_eq!(shown(&given, request).await, [live(), dead()], "the view needs no pass");
    let done = ExpireOutput { expired: 1, deleted: 1, ..Default::default() };
    assert_eq!(pass(&given, false, false).await, done);
    assert_eq!(shown(&given, request).await, [dead(), dead()]);
    assert_eq!(given::objects(&given.store).await, Vec::<String>::new());
    assert_eq!(pass(&given, false, false).await, ExpireOutput::default(), "a second pass finds nothing");
    assert_eq!(
        given::events(&given.owner, request).await,
        ["requested", "ready", "failed", "object_deleted"]
    );
    given.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_keeps_no_dead_link_alive_and_the_next_pass_deletes() {
    let (given, faulty, _folder) = given::installation_on_faulty_store().await;
    let (_, request) = ready(&given).await;
    set_expiry(&given, request, "now()").await;
    faulty.fail_all("DeleteObject", Fault::InternalError);
    let left = ExpireOutput { expired: 1, deletions_left: 1, ..Default::default() };
    assert_eq!(pass(&given, false, false).await, left);
    assert_eq!(shown(&given, request).await, [dead(), dead()]);
    assert_eq!(given::objects(&given.store).await.len(), 1, "the row still names it");
    given.assert_sound(0).await;

    // The store deletes, and its answer is lost: the next pass finds nothing to delete and notes it.
    faulty.heal();
    faulty.fail("DeleteObject", 1, Fault::LoseAnswer);
    assert_eq!(pass(&given, false, false).await.deletions_left, 1);
    assert_eq!(given::events(&given.owner, request).await, ["requested", "ready", "failed"]);
    assert_eq!(pass(&given, false, false).await, ExpireOutput { deleted: 1, ..Default::default() });
    assert_eq!(
        given::events(&given.owner, request).await,
        ["requested", "ready", "failed", "object_deleted"]
    );
    given.assert_sound(0).await;
}

/// Longer than any test: a pass that waits for the store does not come back by itself.
const PATIENT: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_delays_no_flip_and_takes_no_more_than_the_budget_of_a_pass() {
    let (mut given, faulty, _folder) = given::installation_on_faulty_store().await;
    let mut config = given.store.clone();
    (config.attempt_timeout, config.operation_timeout) = (PATIENT, PATIENT);
    given.steps.store = servers::connect(&config).await;
    let (_, first) = ready(&given).await;
    let (_, second) = ready(&given).await;
    set_expiry(&given, first, "now()").await;
    faulty.fail_all("DeleteObject", Fault::Hang);
    let input = ExpireInput::default();

    // The first pass hangs in the store. Its own request is flipped already, and the next pass flips the other one.
    let hanging = pass_within(&given, &input, PATIENT);
    let meanwhile = async {
        faulty.wait_in_flight("DeleteObject", 1).await.unwrap();
        assert_eq!(shown(&given, first).await, [dead(), dead()]);
        set_expiry(&given, second, "now()").await;
        let left = ExpireOutput { expired: 1, deletions_left: 2, ..Default::default() };
        assert_eq!(pass_within(&given, &input, Duration::from_millis(300)).await, left);
        assert_eq!(shown(&given, second).await, [dead(), dead()]);
    };
    tokio::select! {
        ended = hanging => panic!("a pass without a budget came back from a store that hangs: {ended:?}"),
        done = wait::within("the pass with a budget", Duration::from_secs(20), meanwhile) => done.unwrap(),
    }

    faulty.heal();
    assert_eq!(pass(&given, false, false).await, ExpireOutput { deleted: 2, ..Default::default() });
    given.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_of_a_deleted_account_is_revoked_and_that_of_a_closed_one_is_not() {
    let given = given::installation().await;
    let (gone, request_of_gone) = ready(&given).await;
    let (closed, request_of_closed) = ready(&given).await;
    sqlx::query("delete from public.users where id = $1").bind(gone).execute(&given.owner).await.unwrap();
    let close = "update public.users set deleted_at = now() where id = $1";
    sqlx::query(close).bind(closed).execute(&given.owner).await.unwrap();

    assert_eq!(pass(&given, false, false).await, ExpireOutput::default(), "only the nightly pass asks");
    let done = ExpireOutput { revoked: 1, deleted: 1, ..Default::default() };
    assert_eq!(pass(&given, true, false).await, done);
    assert_eq!(shown(&given, request_of_gone).await[0], dead());
    assert_eq!(shown(&given, request_of_closed).await[0], live());
    let reason: String =
        sqlx::query_scalar("select failure_reason from public.data_export_requests where id = $1")
            .bind(request_of_gone)
            .fetch_one(&given.owner)
            .await
            .unwrap();
    assert_eq!(reason, "account_deleted");
    assert_eq!(pass(&given, true, false).await, ExpireOutput::default());
    given.assert_sound(1).await;
}

/// Writes delivered requests of users whom the source does not know, without archives.
async fn deliver_to_unknown(given: &Given, requests: i32) {
    sqlx::query(
        "insert into public.data_export_requests
             (id, user_id, status, download_url, expires_at, object_key, archive_bytes, archive_sha256, row_counts,
              snapshot_at, fulfilled_at, pseudonym_salt)
         select id, gen_random_uuid(), 'ready', 'https://x', now() + interval '1 day',
                'exports/' || id || '/' || gen_random_uuid() || '.zip', 1, repeat('a', 64), '{}', now(), now(), null
         from (select gen_random_uuid() as id from generate_series(1, $1)) r",
    )
    .bind(requests)
    .execute(&given.owner)
    .await
    .unwrap();
    sqlx::query(
        "insert into public.data_export_events (request_id, kind, object_key, archive_bytes, archive_sha256, row_counts)
         select id, 'ready', object_key, 1, archive_sha256, '{}' from public.data_export_requests
         where download_url = 'https://x'",
    )
    .execute(&given.owner)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_misses_many_users_at_once_revokes_nothing_unless_forced() {
    let given = given::installation().await;
    deliver_to_unknown(&given, 15).await;
    for _ in 0..15 {
        ready(&given).await;
    }
    let refused = ExpireOutput { too_many_accounts_gone: true, ..Default::default() };
    assert_eq!(pass(&given, true, false).await, refused);
    let still: i64 =
        sqlx::query_scalar("select count(*) from public.data_export_requests where status = 'ready'")
            .fetch_one(&given.owner)
            .await
            .unwrap();
    assert_eq!(still, 30);
    let held = brake::held(&mut given.steps.state.acquire().await.unwrap()).await.unwrap();
    assert_eq!(
        (held.len(), held[0].brake.as_str(), held[0].hit, held[0].total),
        (1, "accounts_gone", 15, 30)
    );
    // One archive more, and it is no longer half.
    ready(&given).await;
    let done = pass(&given, true, false).await;
    assert_eq!((done.revoked, done.deleted, done.too_many_accounts_gone), (15, 15, false));
    let held = brake::held(&mut given.steps.state.acquire().await.unwrap()).await.unwrap();
    assert_eq!(held, [], "a pass that goes through releases the brake");
    deliver_to_unknown(&given, 30).await;
    let forced = pass(&given, true, true).await;
    assert_eq!((forced.revoked, forced.deleted, forced.too_many_accounts_gone), (30, 30, false));
    given.assert_sound(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_three_deleted_accounts_need_no_person() {
    let given = given::installation().await;
    deliver_to_unknown(&given, 3).await;
    let done = pass(&given, true, false).await;
    assert_eq!((done.revoked, done.too_many_accounts_gone), (3, false));
    given.assert_sound(0).await;
}
