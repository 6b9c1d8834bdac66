//! One rule for every outcome that cannot be taken back: failing requests, revoking archives, deleting objects.
//!
//! A wrong setting hits nearly everything; normal events hit a few. The rule is proportional, so that it protects an
//! installation of 20 archives as well as one of 20,000, and does not stop a platform with three deleted accounts.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::database::pool::Pool;

/// Below this number nothing is held, however large its share: a few deleted accounts need no operator.
const FEW: u64 = 10;
/// Above this number one in [`ONE_IN`] is enough.
const SOME: u64 = 20;
/// The share above which more than [`SOME`] are held: a tenth.
const ONE_IN: u64 = 10;

/// Returns whether `hit` of `of` are too many to be plausible: at least ten and half, or more than 20 and a tenth.
pub fn holds(hit: u64, of: u64) -> bool {
    (hit >= FEW && hit.saturating_mul(2) >= of) || (hit > SOME && hit.saturating_mul(ONE_IN) > of)
}

/// Returns the minimum number of ended requests at which `hit` of them are not held; `None` if there is no minimum.
pub fn least_that_releases(hit: u64) -> Option<u64> {
    let by_half = if hit >= FEW { hit.saturating_mul(2).saturating_add(1) } else { 0 };
    let by_tenth = if hit > SOME { hit.saturating_mul(ONE_IN) } else { 0 };
    Some(by_half.max(by_tenth)).filter(|least| *least > 0)
}

/// Returns the largest number of `of` that is not held.
pub fn allowed(of: u64) -> u64 {
    let by_half = (FEW - 1).max(of.div_ceil(2).saturating_sub(1));
    let by_tenth = SOME.max(of / ONE_IN);
    by_half.min(by_tenth)
}

/// A pass that can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Revoking the archives of accounts that are gone.
    AccountsGone,
    /// Deleting orphaned objects.
    Sweep,
}

impl Pass {
    /// Every pass.
    pub const ALL: [Self; 2] = [Self::AccountsGone, Self::Sweep];

    /// Returns its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountsGone => "accounts_gone",
            Self::Sweep => "sweep",
        }
    }
}

/// A pass that waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The pass, as [`Pass::as_str`] names it.
    pub brake: String,
    /// When it was first held.
    pub since: DateTime<Utc>,
    /// How many it would hit.
    pub hit: i64,
    /// Of how many.
    pub total: i64,
}

/// Records that a pass is held, until [`release`].
pub async fn hold(state: &Pool, pass: Pass, hit: u64, total: u64) -> Result<()> {
    sqlx::query!(
        "insert into public.data_export_brakes (brake, hit, total) values ($1, $2, $3)
         on conflict (brake) do update set hit = excluded.hit, total = excluded.total",
        pass.as_str(),
        i64::try_from(hit).unwrap_or(i64::MAX),
        i64::try_from(total).unwrap_or(i64::MAX),
    )
    .execute(state)
    .await
    .with_context(|| format!("failed to record that the brake `{}` holds", pass.as_str()))?;
    Ok(())
}

/// Removes the record of a held pass, because the pass has gone through.
pub async fn release(state: &Pool, pass: Pass) -> Result<()> {
    sqlx::query!("delete from public.data_export_brakes where brake = $1", pass.as_str())
        .execute(state)
        .await
        .with_context(|| format!("failed to release the brake `{}`", pass.as_str()))?;
    Ok(())
}

/// Lists the passes that wait for an operator.
pub async fn held(state: &mut PgConnection) -> Result<Vec<Held>> {
    sqlx::query_as!(Held, "select brake, since, hit, total from public.data_export_brakes order by brake")
        .fetch_all(state)
        .await
        .context("failed to list the brakes that hold")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_each_bound_hold_in_installations_of_every_size() {
        for (hit, of, held) in [
            (3, 3, false),
            (9, 9, false),
            (10, 10, true),
            (5, 12, false),
            (9, 12, false),
            (10, 12, true),
            (14, 30, false),
            (15, 30, true),
            (20, 199, false),
            (21, 209, true),
            (21, 210, false),
            (100, 1000, false),
            (101, 1000, true),
            (0, 0, false),
        ] {
            assert_eq!(holds(hit, of), held, "{hit} of {of}");
        }
    }

    #[test]
    fn the_least_that_releases_is_the_first_one_that_is_not_held() {
        for hit in (0..500).chain([1_000, 100_000]) {
            match least_that_releases(hit) {
                None => assert!(!holds(hit, hit), "{hit}"),
                Some(least) => assert!(!holds(hit, least) && holds(hit, least - 1), "{hit} of {least}"),
            }
        }
    }

    #[test]
    fn the_allowed_number_is_the_last_one_that_is_not_held() {
        for of in (0..500).chain([1_000, 10_000, 1 << 50]) {
            let allowed = allowed(of);
            assert!(!holds(allowed, of) && holds(allowed + 1, of), "{allowed} of {of}");
        }
    }
}
