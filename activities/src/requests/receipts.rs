//! Receipts as the database has them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use chrono::Utc;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    receipt::{Receipt, ReceiptAccess, ReceiptArchive, issuer},
    scope::{Filters, Scope},
    user_id::UserId,
};

/// Reads the receipt that a worker signed.
///
/// # Errors
/// When there is none; the error says why.
pub async fn read(state: &Pool, request_id: Uuid) -> Result<String> {
    let row = sqlx::query!(
        "select receipt, fulfilled_at from public.data_export_requests where id = $1",
        request_id
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read request `{request_id}`"))?;
    let Some(row) = row else { bail!("there is no request {request_id}") };
    match row.receipt {
        Some(receipt) => Ok(receipt),
        None if row.fulfilled_at.is_none() => bail!("nothing was delivered for request {request_id}"),
        None => bail!(
            "request {request_id} has no receipt: its worker had no EXPORT_RECEIPT_KEY_FILE, or its user was forgotten"
        ),
    }
}

/// Reads what was delivered for a request, and who came to it until now.
///
/// # Errors
/// When nothing was delivered.
pub async fn with_accesses(state: &Pool, request_id: Uuid) -> Result<Receipt> {
    let row = sqlx::query!(
        r#"select r.user_id as "user_id: UserId", r.requested_at, r.asked_as, r.snapshot_at, r.fulfilled_at, r.expires_at,
               r.archive_bytes, r.archive_sha256, r.row_counts, i.id as installation,
               r.entities, r.since, r.until, r.filters as "filters: Json<Filters>"
           from public.data_export_requests r, public.data_export_installation i
           where r.id = $1 and r.fulfilled_at is not null"#,
        request_id
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read request `{request_id}`"))?;
    let Some(row) = row else { bail!("nothing was delivered for request {request_id}") };
    if row.user_id == UserId::forgotten() {
        bail!("request {request_id} has no receipt: its user was forgotten");
    }
    let accesses = sqlx::query_as!(
        ReceiptAccess,
        "select at, action, actor_as from public.data_export_accesses
         where request_id = $1 and action in ('linked', 'delivered') order by id",
        request_id
    )
    .fetch_all(state)
    .await
    .with_context(|| format!("failed to read the accesses to request `{request_id}`"))?;
    const WHOLE: &str = "the row of a delivered request is not whole";
    let rows: BTreeMap<String, u64> =
        serde_json::from_value(row.row_counts.context(WHOLE)?).context(WHOLE)?;
    Ok(Receipt {
        iss: issuer(row.installation),
        sub: row.user_id,
        jti: request_id,
        iat: Utc::now().timestamp(),
        requested_at: row.requested_at,
        requested_as: row.asked_as,
        scope: Some(Scope::of_columns(row.entities, row.since, row.until, row.filters))
            .filter(|scope| !scope.is_whole()),
        snapshot_at: row.snapshot_at.context(WHOLE)?,
        ready_at: row.fulfilled_at.context(WHOLE)?,
        expires_at: row.expires_at.context(WHOLE)?,
        archive: ReceiptArchive {
            bytes: u64::try_from(row.archive_bytes.context(WHOLE)?).context(WHOLE)?,
            sha256: row.archive_sha256.context(WHOLE)?,
        },
        rows,
        accesses: Some(accesses),
    })
}
