//! Collects, serialises and archives in one streaming pass: each row is read once.

use anyhow::Result;

use crate::{
    archive::{Archive, ArchiveWriter, Contents, EntityContents, LeftOut, Omitted},
    catalogue::{Catalogue, Entity, EntityPlan, Use},
    context::ExportSteps,
    fulfil::files,
    pulse::Pulse,
    requests::claim::Claim,
    source::snapshot::Snapshot,
};

/// Reads the account into a finished archive in the spool. The read transaction has ended when it returns.
pub async fn write_archive(
    mut snapshot: Snapshot,
    claim: &Claim,
    steps: &ExportSteps,
    pulse: &Pulse,
) -> Result<Archive> {
    let contents = describe(&snapshot, claim, steps);
    let mut writer = ArchiveWriter::create(contents, &steps.spool, pulse)?;
    pulse.begin_reading();
    for entity in 0..snapshot.plan.entities.len() {
        let mut rows = snapshot.rows(entity, pulse)?;
        let failed = loop {
            match rows.next().await {
                Ok(Some(row)) => {
                    pulse.row_read();
                    writer.row(entity, row).await?;
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        drop(rows);
        if let Some(error) = failed {
            return Err(snapshot.blame(entity, error, pulse).await);
        }
        pulse.entity_read();
    }
    let sets = steps.catalogue.files();
    if sets.is_empty() {
        snapshot.close().await?;
        return writer.finish().await;
    }
    let listing = files::list(&mut snapshot, sets, pulse).await?;
    // The files may take long, and the source is done.
    snapshot.close().await?;
    files::attach(listing, writer.join().await?, steps, pulse).await?.finish().await
}

fn describe(snapshot: &Snapshot, claim: &Claim, steps: &ExportSteps) -> Contents {
    let catalogue: &Catalogue = &steps.catalogue;
    let entities = catalogue.entities().iter().zip(&snapshot.plan.entities);
    Contents {
        request_id: claim.request_id,
        user_id: claim.user_id.clone(),
        requested_at: claim.requested_at,
        snapshot_at: snapshot.snapshot_at,
        database_version: snapshot.server_version.clone(),
        catalogue_sha256: catalogue.sha256().to_owned(),
        pseudonym_salt: claim.pseudonym_salt.clone(),
        notice: steps.settings.notice.clone(),
        deflate_level: steps.settings.deflate_level,
        checksum: steps.checksum,
        entities: entities.map(|(entity, plan)| describe_entity(entity, plan)).collect(),
        account: catalogue.account_index(),
        file_sets: catalogue.files().iter().map(|set| (set.name.clone(), set.about.clone())).collect(),
        left_out: catalogue
            .left_out()
            .iter()
            .map(|left| LeftOut { relation: left.relation.clone(), why: left.why.clone() })
            .collect(),
    }
}

fn describe_entity(entity: &Entity, plan: &EntityPlan) -> EntityContents {
    let omitted = entity.columns.iter().filter(|column| column.use_ == Use::Omit);
    EntityContents {
        name: entity.name.clone(),
        relation: entity.relation.clone(),
        about: entity.about.clone(),
        columns: plan.columns.clone(),
        omitted: omitted
            .map(|column| Omitted {
                name: column.name.clone(),
                pg_type: column.pg_type.clone(),
                why: column.why.clone().unwrap_or_default(),
            })
            .collect(),
        order: plan.order.clone(),
        primary_key: plan.primary_key.clone(),
        facts: entity.facts.clone(),
    }
}
