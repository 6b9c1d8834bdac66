//! `pending` -> `ready`: records the delivered archive and its link, and finds out how an unanswered COMMIT ended.
//!
//! Leaves the row `ready` with this attempt's object, or reports that another writer was faster.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{
    database::pool::Pool,
    failure::judge,
    fulfil::presign::PresignedUrl,
    requests::{
        call::call,
        claim::Claim,
        state::{self, Delivery, Status, Trace},
    },
};

/// Maximum number of tries before the attempt ends as a fault of the database. With the pauses between them, the tries
/// survive a fail-over of a few seconds.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// How the race for the row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Race {
    /// The row names this attempt's object.
    Won,
    /// The row was read, and has another object, another claim or another state.
    Lost,
}

/// Marks the request `ready`.
///
/// # Errors
/// Only when the row could not be read back either. It is then unknown whether the commit took place, and nothing may
/// be deleted.
pub async fn ready(
    state: &Pool,
    claim: &Claim,
    delivery: &Delivery,
    url: &PresignedUrl,
    trace: &Trace,
) -> Result<Race> {
    let mut last = None;
    for number in 0..TRIES {
        if number > 0 {
            tokio::time::sleep(PAUSE * number).await;
        }
        let (id, token) = (claim.request_id, claim.token);
        match call(state::mark_ready(state, id, token, delivery, url.reveal(), trace)).await {
            Ok(true) => return Ok(Race::Won),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(
                    error.chain = %judge(&error),
                    "No answer while marking request {} ready; reading it back", claim.request_id
                );
                last = Some(error);
            }
        }
        match call(state::read_back(state, claim.request_id)).await {
            Ok(Some(row)) if row.object_key.as_deref() == Some(&delivery.object_key) => return Ok(Race::Won),
            Ok(Some(row)) if row.status == Status::Pending && row.claim_token == Some(claim.token) => {}
            Ok(_) => return Ok(Race::Lost),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("the row stayed pending under the same claim")))
        .with_context(|| format!("failed to mark request `{}` ready", claim.request_id))
}
