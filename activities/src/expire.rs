//! `ready` -> `failed`: ends what is overdue or whose user is gone, then deletes the archives of failed requests.
//!
//! First every overdue row is flipped, only then is anything deleted, so a store that is away never keeps a dead link
//! alive. A deletion is noted on the row and in the log after the store has answered; what could not be deleted is
//! counted and left to the next pass.

use anyhow::{Context, Result};
use export_workflows::contract::{ExpireInput, ExpireOutput, FailureReason};
use futures::{StreamExt, stream};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    catalogue::Catalogue,
    collect,
    failure::{Failure, judge},
    object_key::ObjectKey,
    pulse::Pulse,
    request::Trace,
    store::Store,
};

/// Rows of one transaction: short enough never to keep the platform waiting for a lock.
const BATCH: i64 = 500;
/// Deletions in flight; a store takes many more, but this pass is never in a hurry.
const DELETIONS: usize = 8;
/// A pass that would revoke more than this many, and more than a tenth, does nothing: more likely the source is wrong.
const MANY: u64 = 100;

/// Runs one pass: flip, revoke (if asked to), delete.
///
/// # Errors
/// When the database fails. A store that fails is no error: `deletions_left` says how much is left.
pub async fn expire(
    state: &PgPool,
    accounts: Option<(&PgPool, &Catalogue)>,
    store: &Store,
    input: &ExpireInput,
    trace: &Trace,
    pulse: &Pulse,
) -> Result<ExpireOutput> {
    let mut output = ExpireOutput { expired: flip_overdue(state, trace, pulse).await?, ..Default::default() };
    if let (true, Some((source, catalogue))) = (input.accounts, accounts) {
        let gone = find_gone_accounts(state, source, catalogue, pulse).await?;
        if gone.are_too_many() && !input.force {
            output.too_many_accounts_gone = true;
            tracing::error!(
                accounts.gone = gone.requests.len(),
                accounts.asked = gone.asked,
                "Nothing was revoked: {} of {} delivered archives belong to users that the source does not know. \
                 Is EXPORT_SOURCE_URL right? `export-worker expire --accounts --force` revokes them all the same",
                gone.requests.len(),
                gone.asked,
            );
        } else {
            output.revoked = revoke(state, &gone.requests, trace, pulse).await?;
        }
    }
    delete_objects(state, store, trace, pulse, &mut output).await?;
    Ok(output)
}

async fn flip_overdue(state: &PgPool, trace: &Trace, pulse: &Pulse) -> Result<u64> {
    let mut expired = 0;
    loop {
        stop_if_cancelled(pulse)?;
        let flipped = sqlx::query_scalar!(
            r#"with overdue as (
                 select id from public.data_export_requests
                 where status = 'ready' and expires_at <= clock_timestamp()
                 order by expires_at limit $1
                 for update skip locked
               ), moved as (
                 update public.data_export_requests r
                 set status = 'failed', failure_reason = 'expired', download_url = null
                 from overdue where r.id = overdue.id
                 returning r.id, r.object_key
               ), logged as (
                 insert into public.data_export_events (request_id, kind, reason, night, run_id, object_key)
                 select id, 'failed', 'expired', $2, $3, object_key from moved
               )
               select count(pg_notify('data_export', id || ' failed')) as "count!" from moved"#,
            BATCH,
            trace.night,
            trace.run_id,
        )
        .fetch_one(state)
        .await
        .context("failed to expire overdue requests")?;
        pulse.beat(1);
        if flipped == 0 {
            return Ok(expired);
        }
        expired += u64::try_from(flipped).unwrap_or(0);
    }
}

struct GoneAccounts {
    requests: Vec<Uuid>,
    asked: u64,
}

impl GoneAccounts {
    fn are_too_many(&self) -> bool {
        let gone = self.requests.len() as u64;
        gone > MANY && gone * 10 > self.asked
    }
}

/// Asks the source which users of `ready` requests still have a row; a soft-deleted one counts.
async fn find_gone_accounts(
    state: &PgPool,
    source: &PgPool,
    catalogue: &Catalogue,
    pulse: &Pulse,
) -> Result<GoneAccounts> {
    let mut gone = GoneAccounts { requests: Vec::new(), asked: 0 };
    let mut after = Uuid::nil();
    loop {
        stop_if_cancelled(pulse)?;
        let page = sqlx::query!(
            "select id, user_id from public.data_export_requests
             where status = 'ready' and id > $1 order by id limit $2",
            after,
            BATCH,
        )
        .fetch_all(state)
        .await
        .context("failed to list delivered requests")?;
        let Some(last) = page.last() else { return Ok(gone) };
        after = last.id;
        gone.asked += page.len() as u64;
        let users: Vec<Uuid> = page.iter().map(|row| row.user_id).collect();
        let existing = collect::existing_accounts(source, catalogue, &users).await?;
        gone.requests.extend(page.iter().filter(|row| !existing.contains(&row.user_id)).map(|row| row.id));
        pulse.beat(1);
    }
}

async fn revoke(state: &PgPool, requests: &[Uuid], trace: &Trace, pulse: &Pulse) -> Result<u64> {
    let mut revoked = 0;
    for batch in requests.chunks(usize::try_from(BATCH).unwrap_or(1)) {
        stop_if_cancelled(pulse)?;
        let moved = sqlx::query_scalar!(
            r#"with moved as (
                 update public.data_export_requests
                 set status = 'failed', failure_reason = $2, download_url = null
                 where id = any($1) and status = 'ready'
                 returning id, object_key
               ), logged as (
                 insert into public.data_export_events (request_id, kind, reason, night, run_id, object_key)
                 select id, 'failed', $2, $3, $4, object_key from moved
               )
               select count(pg_notify('data_export', id || ' failed')) as "count!" from moved"#,
            batch,
            FailureReason::AccountDeleted.as_str(),
            trace.night,
            trace.run_id,
        )
        .fetch_one(state)
        .await
        .context("failed to revoke the archives of deleted accounts")?;
        revoked += u64::try_from(moved).unwrap_or(0);
        pulse.beat(1);
    }
    Ok(revoked)
}

/// Deletes page by page; after the first refusal of the store it only counts.
async fn delete_objects(
    state: &PgPool,
    store: &Store,
    trace: &Trace,
    pulse: &Pulse,
    output: &mut ExpireOutput,
) -> Result<()> {
    let mut after = Uuid::nil();
    loop {
        stop_if_cancelled(pulse)?;
        let page = sqlx::query!(
            r#"select id, object_key as "object_key!" from public.data_export_requests
               where status = 'failed' and object_key is not null and object_deleted_at is null and id > $1
               order by id limit $2"#,
            after,
            BATCH,
        )
        .fetch_all(state)
        .await
        .context("failed to list archives that are to be deleted")?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        let deletions = page.into_iter().map(|row| async move {
            (row.id, delete_object(state, store, row.id, &row.object_key, trace).await)
        });
        let mut deletions = stream::iter(deletions).buffer_unordered(DELETIONS);
        let mut store_is_away = false;
        while let Some((id, deleted)) = deletions.next().await {
            pulse.beat(1);
            match deleted {
                Ok(()) => output.deleted += 1,
                Err(error) => {
                    store_is_away = true;
                    tracing::warn!(
                        error.chain = %judge(&error),
                        "The archive of failed request {id} could not be deleted; the next pass tries again"
                    );
                }
            }
        }
        if store_is_away {
            let left = sqlx::query_scalar!(
                r#"select count(*) as "count!" from public.data_export_requests
                   where status = 'failed' and object_key is not null and object_deleted_at is null"#
            )
            .fetch_one(state)
            .await
            .context("failed to count archives that are to be deleted")?;
            output.deletions_left = u64::try_from(left).unwrap_or(0);
            return Ok(());
        }
    }
}

async fn delete_object(
    state: &PgPool,
    store: &Store,
    request_id: Uuid,
    object_key: &str,
    trace: &Trace,
) -> Result<()> {
    let key = ObjectKey::parse(object_key)
        .with_context(|| format!("request `{request_id}` names `{object_key}`, which is no key of ours"))?;
    store.delete(&key).await?;
    sqlx::query!(
        "with moved as (
           update public.data_export_requests set object_deleted_at = clock_timestamp()
           where id = $1 and status = 'failed' and object_key = $2 and object_deleted_at is null
           returning id
         )
         insert into public.data_export_events (request_id, kind, night, run_id, object_key)
         select id, 'object_deleted', $3, $4, $2 from moved",
        request_id,
        object_key,
        trace.night,
        trace.run_id,
    )
    .execute(state)
    .await
    .with_context(|| format!("failed to note that `{object_key}` was deleted"))?;
    Ok(())
}

fn stop_if_cancelled(pulse: &Pulse) -> Result<()> {
    if pulse.is_cancelled() { Err(Failure::Interrupted.into()) } else { Ok(()) }
}
