//! The database refuses a row edited by hand into an illegal combination, for every role.

use export_activities::requests::state::Status;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::servers::database;

/// Makes one request in each state.
async fn states(pool: &PgPool) -> [Uuid; 3] {
    let mut ids = Vec::new();
    for state in ["pending", "ready", "failed"] {
        let id: Uuid = sqlx::query_scalar(
            "insert into public.data_export_requests (user_id) values (gen_random_uuid()) returning id",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if state != "pending" {
            let key = format!("exports/{id}/{}.zip", Uuid::new_v4());
            sqlx::query(
                "update public.data_export_requests set status = 'ready', download_url = 'https://x',
                 expires_at = now() + interval '1 day', object_key = $2, archive_bytes = 1,
                 archive_sha256 = repeat('a', 64), row_counts = '{}', snapshot_at = now(), fulfilled_at = now(),
                 pseudonym_salt = null where id = $1",
            )
            .bind(id)
            .bind(key)
            .execute(pool)
            .await
            .unwrap();
        }
        if state == "failed" {
            edit(pool, id, "status = 'failed', failure_reason = 'expired', download_url = null")
                .await
                .unwrap();
        }
        ids.push(id);
    }
    ids.try_into().unwrap()
}

async fn edit(pool: &PgPool, id: Uuid, what: &str) -> sqlx::Result<()> {
    let sql = format!("update public.data_export_requests set {what} where id = $1");
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).execute(pool).await.map(drop)
}

async fn assert_refused(pool: &PgPool, id: Uuid, what: &str) {
    let error = edit(pool, id, what).await.expect_err(what);
    let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
    assert!(matches!(code.as_deref(), Some("23514" | "23502")), "`{what}`: {error}");
}

/// Everything that a row in this state must have, so that only the move itself can be refused.
fn columns(status: Status, id: Uuid) -> String {
    match status {
        Status::Pending => "status = 'pending', download_url = null, failure_reason = null".to_owned(),
        Status::Ready => format!(
            "status = 'ready', download_url = 'https://x', expires_at = now() + interval '1 day',
             object_key = coalesce(object_key, 'exports/{id}/{}.zip'), archive_bytes = 1,
             archive_sha256 = repeat('a', 64), row_counts = '{{}}', snapshot_at = now(), fulfilled_at = now(),
             pseudonym_salt = null, failure_reason = null",
            Uuid::new_v4()
        ),
        Status::Failed => "status = 'failed', download_url = null, pseudonym_salt = null,
             failure_reason = case status when 'ready' then 'expired' else 'account_deleted' end"
            .to_owned(),
    }
}

#[tokio::test]
async fn the_legal_moves_in_code_are_those_of_the_trigger() {
    let pool = database().await;
    for from in Status::ALL {
        for to in Status::ALL.into_iter().filter(|to| *to != from) {
            let ids = states(&pool).await;
            let id = ids[Status::ALL.iter().position(|status| *status == from).unwrap()];
            let moved = edit(&pool, id, &columns(to, id)).await;
            let legal = to.valid_old_states().contains(&from);
            assert_eq!(moved.is_ok(), legal, "{from} -> {to}: {moved:?}");
            if let Err(error) = moved {
                let refused = error.to_string().contains(&format!("cannot go from {from} to {to}"));
                assert!(refused, "another rule than that of moves refused it: {error}");
            }
        }
    }
}

#[tokio::test]
async fn no_edit_makes_a_row_that_is_half_one_state_and_half_another() {
    let pool = database().await;
    let [pending, ready, failed] = states(&pool).await;
    for what in [
        "status = 'processing'",
        "status = 'ready'",
        "status = 'failed'",
        "download_url = 'https://x'",
        "expires_at = now()",
        "object_key = 'exports/a/b.zip'",
        "failure_reason = 'expired'",
        "failure_reason = 'because', status = 'failed', pseudonym_salt = null",
        "status = 'failed', failure_reason = 'revoked'",
        "status = 'failed', failure_reason = 'expired', pseudonym_salt = null",
        "pseudonym_salt = null",
        "claim_token = gen_random_uuid()",
        "claim_owner = 'me'",
        "lease_until = now()",
        "attempts = -1",
        "user_id = gen_random_uuid()",
        "requested_at = now() + interval '1 day'",
        "id = gen_random_uuid()",
        "object_deleted_at = now()",
    ] {
        assert_refused(&pool, pending, what).await;
    }
    for what in [
        "status = 'pending'",
        "download_url = null",
        "expires_at = null",
        "object_key = null",
        "object_key = 'exports/other.zip'",
        "archive_bytes = 0",
        "archive_sha256 = 'ABC'",
        "row_counts = '[]'",
        "failure_reason = 'expired'",
        "status = 'failed', download_url = null",
        "status = 'failed', failure_reason = 'expired'",
        "object_deleted_at = now()",
        "download_url = 'https://y'",
        "expires_at = expires_at + interval '1 second'",
        "archive_bytes = 2",
        "archive_sha256 = repeat('b', 64)",
        "row_counts = '{\"users\": 1}'",
        "snapshot_at = now() - interval '1 day'",
        "fulfilled_at = now() - interval '1 day'",
        "claim_token = gen_random_uuid(), claim_owner = 'me', claim_try = 1, lease_until = now()",
        "pseudonym_salt = 'salt'",
    ] {
        assert_refused(&pool, ready, what).await;
    }
    for what in [
        "status = 'pending', failure_reason = null",
        "status = 'ready', failure_reason = null, download_url = 'https://x'",
        "failure_reason = null",
        "failure_reason = 'revoked'",
        "expires_at = null",
        "archive_sha256 = null",
        "download_url = 'https://x'",
        "object_key = null",
    ] {
        assert_refused(&pool, failed, what).await;
    }
    // The control: what an edit may do, it may.
    edit(&pool, pending, "last_error = 'seen'").await.unwrap();
    edit(&pool, ready, "expires_at = expires_at - interval '1 second'").await.unwrap();
    edit(&pool, ready, "status = 'failed', failure_reason = 'revoked', download_url = null").await.unwrap();
    edit(&pool, failed, "object_deleted_at = now()").await.unwrap();
    assert_refused(&pool, failed, "object_deleted_at = null").await;
}

#[tokio::test]
async fn export_state_may_change_every_column_but_those_that_never_change() {
    let refused: Vec<String> = sqlx::query_scalar(
        "select a.attname::text from pg_catalog.pg_attribute a
         where a.attrelid = 'public.data_export_requests'::regclass and a.attnum > 0 and not a.attisdropped
             and not has_column_privilege('export_state', a.attrelid, a.attnum, 'UPDATE')
         order by 1",
    )
    .fetch_all(&database().await)
    .await
    .unwrap();
    assert_eq!(
        refused,
        [
            "asked_as",
            "entities",
            "formats",
            "id",
            "org_id",
            "requested_at",
            "retry_of",
            "since",
            "start",
            "until",
            "updated_at"
        ]
    );
}

#[tokio::test]
async fn the_log_takes_each_kind_once_in_order_and_is_never_rewritten() {
    let pool = database().await;
    let [pending, ready, _] = states(&pool).await;
    let insert = |id, kind: &str, more: &str| {
        let sql = format!(
            "insert into public.data_export_events (request_id, kind, reason, object_key, archive_bytes, archive_sha256, row_counts)
             values ($1, '{kind}', {more})"
        );
        let pool = pool.clone();
        async move { sqlx::query(sqlx::AssertSqlSafe(sql)).bind::<Uuid>(id).execute(&pool).await.map(drop) }
    };
    let nothing = "null, null, null, null, null";
    // A worker of the release before writes its events after the trigger has: the second line is dropped.
    insert(pending, "requested", nothing).await.unwrap();
    let lines: i64 =
        sqlx::query_scalar("select count(*) from public.data_export_events where request_id = $1")
            .bind(pending)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(lines, 1, "a line was written twice");
    assert!(insert(pending, "object_deleted", nothing).await.is_err(), "before it failed");
    assert!(insert(ready, "failed", nothing).await.is_err(), "without a reason");
    assert!(insert(pending, "ready", nothing).await.is_err(), "without an object");
    for sql in [
        "update public.data_export_events set kind = 'ready'",
        "delete from public.data_export_events",
        "truncate public.data_export_events cascade",
    ] {
        let error = sqlx::query(sql).execute(&pool).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{sql}");
    }
    insert(pending, "failed", "'revoked', null, null, null, null").await.unwrap();
}
