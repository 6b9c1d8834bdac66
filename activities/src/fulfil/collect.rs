//! Reads the account into an archive, from the replica if a suitable one is there, else from the source.
//!
//! Leaves the archive in the spool, and no open transaction.

use anyhow::Result;

use crate::{
    archive::Archive,
    context::ExportSteps,
    fulfil::pack,
    pulse::Pulse,
    requests::claim::Claim,
    source::{
        replica::{self, Opened},
        snapshot::{self, Account},
    },
};

/// Reads the account of a claimed request into an archive.
pub(super) async fn collect(steps: &ExportSteps, claim: &Claim, pulse: &Pulse) -> Result<Archive> {
    let account = Account { request_id: claim.request_id, user_id: claim.user_id.clone() };
    let mut turn = None;
    if let Some(replica) = &steps.replica {
        turn = Some(replica.turn(pulse).await?);
        let opened = replica::open(replica, &steps.source, &steps.catalogue, &account, pulse).await?;
        let passed = match opened {
            Opened::Here(snapshot) => match pack::write_archive(*snapshot, claim, steps, pulse).await {
                Err(error) => replica::passed(&error).ok_or(error)?,
                archive => {
                    steps.metrics.read(None);
                    return archive;
                }
            },
            Opened::Passed(passed) => passed,
        };
        steps.metrics.read(Some(&passed));
        tracing::warn!("Request {} is read from the source, not the replica: {passed}", claim.request_id);
    }
    let snapshot = snapshot::open(&steps.source, &steps.catalogue, &account, pulse).await?;
    let archive = pack::write_archive(snapshot, claim, steps, pulse).await;
    drop(turn);
    archive
}
