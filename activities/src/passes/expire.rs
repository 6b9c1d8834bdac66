//! `ready` -> `failed`: fails requests that are overdue or whose user is gone, then deletes the archives of failed
//! requests.
//!
//! A pass flips every overdue row before it deletes anything, and deletes within a budget of time. So a store that is
//! away or hangs never keeps a dead link alive, neither in this pass nor in the next. A deletion is recorded on the
//! row, and by the trigger in the log, after the store has confirmed that the object is gone. An archive that could not
//! be deleted is counted and left to the next pass.

use std::time::Duration;

use anyhow::Result;
use export_workflows::contract::{ExpireInput, ExpireOutput};
use futures::{StreamExt, stream};
use uuid::Uuid;

use crate::{
    catalogue::Catalogue,
    database::pool::Pool,
    failure::{Failure, StoreError, judge},
    passes::buckets::Buckets,
    pulse::Pulse,
    requests::{
        archives::{self, Undeleted},
        brake::{self, Pass},
        expiry, progress,
        state::Trace,
    },
    source::snapshot,
    store::{Store, object_key::ObjectKey},
};

/// Maximum number of deletions in flight. A store takes many more, but this pass is never in a hurry.
const DELETIONS: usize = 8;
/// How long a pass may delete. The next pass starts five minutes after this one, and has to flip in time.
pub const DELETE_WITHIN: Duration = Duration::from_secs(3 * 60);

/// The dependencies of a pass.
#[derive(Clone, Copy)]
pub struct ExpiryPass<'a> {
    /// Requests and events.
    pub state: &'a Pool,
    /// The source database, and the catalogue that finds accounts in it; `None` if the caller never asks for accounts.
    pub accounts: Option<(&'a Pool, &'a Catalogue)>,
    /// The bucket.
    pub store: &'a Store,
    /// The night and the run that it runs for.
    pub trace: &'a Trace,
    /// Beats while it moves.
    pub pulse: &'a Pulse,
    /// How long it may delete: [`DELETE_WITHIN`].
    pub delete_within: Duration,
}

/// Runs one pass: flip, revoke (if asked to), delete.
///
/// # Errors
/// When the database fails, or the bucket is not the one that holds the archives. A store that is away is no error:
/// `deletions_left` says how much is left.
pub async fn expire(pass: &ExpiryPass<'_>, input: &ExpireInput) -> Result<ExpireOutput> {
    let ExpiryPass { state, accounts, trace, pulse, .. } = *pass;
    let mut output = ExpireOutput { expired: flip_overdue(state, trace, pulse).await?, ..Default::default() };
    progress::clear(state).await?;
    if let (true, Some((source, catalogue))) = (input.accounts, accounts) {
        let gone = find_gone_accounts(state, source, catalogue, pulse).await?;
        if gone.are_too_many() && !input.force {
            output.too_many_accounts_gone = true;
            brake::hold(state, Pass::AccountsGone, gone.requests.len() as u64, gone.asked).await?;
            tracing::error!(
                accounts.gone = gone.requests.len(),
                accounts.asked = gone.asked,
                "Nothing was revoked: {} of {} delivered archives belong to users that the source does not know. \
                 Is EXPORT_SOURCE_URL right? `export-worker expire --accounts --force` revokes them anyway",
                gone.requests.len(),
                gone.asked,
            );
        } else {
            output.revoked = revoke(state, &gone.requests, trace, pulse).await?;
            brake::release(state, Pass::AccountsGone).await?;
        }
    }
    delete_objects(pass, &mut output).await?;
    Ok(output)
}

async fn flip_overdue(state: &Pool, trace: &Trace, pulse: &Pulse) -> Result<u64> {
    let mut expired = 0;
    loop {
        pulse.check()?;
        let flipped = expiry::fail_overdue(state, trace).await?;
        pulse.beat(1);
        if flipped == 0 {
            return Ok(expired);
        }
        expired += flipped;
    }
}

struct GoneAccounts {
    requests: Vec<Uuid>,
    asked: u64,
}

impl GoneAccounts {
    fn are_too_many(&self) -> bool {
        brake::holds(self.requests.len() as u64, self.asked)
    }
}

/// Finds the `ready` requests whose user has no row in the source any more. A soft-deleted row counts as one.
async fn find_gone_accounts(
    state: &Pool,
    source: &Pool,
    catalogue: &Catalogue,
    pulse: &Pulse,
) -> Result<GoneAccounts> {
    let mut gone = GoneAccounts { requests: Vec::new(), asked: 0 };
    let mut after = Uuid::nil();
    loop {
        pulse.check()?;
        let page = expiry::list_delivered(state, after).await?;
        let Some(last) = page.last() else { return Ok(gone) };
        after = last.id;
        gone.asked += page.len() as u64;
        let users = page.iter().map(|row| &row.user_id);
        let existing = snapshot::existing_accounts(source, catalogue, users).await?;
        gone.requests
            .extend(page.iter().filter(|row| !existing.contains(row.user_id.as_str())).map(|row| row.id));
        pulse.beat(1);
    }
}

async fn revoke(state: &Pool, requests: &[Uuid], trace: &Trace, pulse: &Pulse) -> Result<u64> {
    let mut revoked = 0;
    for batch in requests.chunks(usize::try_from(expiry::BATCH).unwrap_or(1)) {
        pulse.check()?;
        revoked += expiry::revoke_deleted_accounts(state, batch, trace).await?;
        pulse.beat(1);
    }
    Ok(revoked)
}

/// Deletes the archives of failed requests, within the budget of a pass, and counts those that are left.
///
/// # Errors
/// When the bucket is not the one that holds them, or the database fails.
async fn delete_objects(pass: &ExpiryPass<'_>, output: &mut ExpireOutput) -> Result<()> {
    if archives::count_undeleted(pass.state).await? == 0 {
        return Ok(());
    }
    let deletion = delete_all(pass, &mut output.deleted);
    match tokio::time::timeout(pass.delete_within, deletion).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if is_away(&error) => tracing::warn!(
            error.chain = %judge(&error),
            "The archives of failed requests could not be deleted; the next pass retries"
        ),
        Ok(Err(error)) => return Err(error),
        Err(_) => tracing::warn!(
            "Deleting archives took longer than {} s; the next pass continues",
            pass.delete_within.as_secs()
        ),
    }
    output.deletions_left = archives::count_undeleted(pass.state).await?;
    Ok(())
}

/// Deletes page by page. An archive that the store refuses to delete is skipped; a store that is away ends the pass.
async fn delete_all(pass: &ExpiryPass<'_>, deleted: &mut u64) -> Result<()> {
    let ExpiryPass { state, store, trace, pulse, .. } = *pass;
    let buckets = Buckets::open(state, store).await?;
    // Starts at a random id and wraps around, so that archives that cannot be deleted never block the others.
    let begin = Uuid::new_v4();
    for (mut after, last) in [(begin, Uuid::max()), (Uuid::nil(), begin)] {
        loop {
            pulse.check()?;
            let page = archives::list_undeleted(state, after, last).await?;
            let Some(row) = page.last() else { break };
            after = row.id;
            let deletions = page.into_iter().map(|row| {
                let buckets = &buckets;
                async move {
                    let ended = delete_one(state, buckets, &row, trace).await;
                    (row, ended)
                }
            });
            let mut deletions = stream::iter(deletions).buffer_unordered(DELETIONS);
            while let Some((row, ended)) = deletions.next().await {
                pulse.beat(1);
                match ended {
                    Ok(()) => *deleted += 1,
                    // A former bucket may be gone for good, and must not block the others.
                    Err(error) if is_away(&error) && buckets.is_current(row.object_location.as_deref()) => {
                        return Err(error);
                    }
                    Err(error) => tracing::warn!(
                        error.chain = %judge(&error),
                        "The archive of failed request {} could not be deleted; the next pass retries", row.id
                    ),
                }
            }
        }
    }
    Ok(())
}

/// Returns whether an error says that the store does not answer, so that nothing else can be deleted now.
fn is_away(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(StoreError::is_away)
}

/// How deleting the archive of one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The archive is deleted, and the row records it.
    Done,
    /// There was nothing to delete: no archive, or it was deleted before.
    Nothing,
}

/// Deletes the archive of one failed request, before any other.
///
/// # Errors
/// When the bucket is not the one that holds it, or store or database fail. The archive and its link may then still
/// exist.
pub async fn delete_archive(state: &Pool, store: &Store, request_id: Uuid) -> Result<Deleted> {
    let row = archives::find_undeleted(state, request_id).await?;
    let Some(row) = row else { return Ok(Deleted::Nothing) };
    let buckets = Buckets::open(state, store).await?;
    delete_one(state, &buckets, &row, &Trace::default()).await?;
    Ok(Deleted::Done)
}

async fn delete_one(state: &Pool, buckets: &Buckets, row: &Undeleted, trace: &Trace) -> Result<()> {
    let key = ObjectKey::parse(&row.object_key).ok_or_else(|| {
        Failure::Installation(format!(
            "request `{}` names `{}`, which is no key of ours: it is left to a person",
            row.id, row.object_key
        ))
    })?;
    buckets.store(row.object_location.as_deref()).await?.delete(&key).await?;
    archives::record_deleted(state, row, trace).await
}
