//! Collects, serialises and archives in one streaming pass: each row is read once.

use anyhow::Result;

use crate::{
    archive::{Archive, ArchiveWriter, Contents, EntityContents, LeftOut, Omitted},
    catalogue::{Catalogue, Entity, EntityPlan, FileSet, Use},
    context::ExportSteps,
    failure::Failure,
    fulfil::files,
    pulse::Pulse,
    requests::claim::Claim,
    scope::Part,
    serialise::formats::Formats,
    source::snapshot::Snapshot,
};

/// Reads the account, or the part of it that is asked for, into a finished archive in the spool. The read transaction has
/// ended when it returns.
///
/// # Errors
/// [`Failure::ScopeRefused`] when the catalogue has no such part, or this version no such format.
pub async fn write_archive(
    mut snapshot: Snapshot,
    claim: &Claim,
    steps: &ExportSteps,
    pulse: &Pulse,
) -> Result<Archive> {
    let part = claim.scope.part_of_claim(steps.catalogue.offer())?;
    let formats = Formats::of_column(&claim.formats)
        .map_err(|unknown| Failure::ScopeRefused(vec![unknown.to_string()]))?;
    let scope = part.scope.as_ref();
    let contents = describe(&snapshot, claim, steps, &part, formats);
    let mut writer = ArchiveWriter::create(contents, &steps.spool, pulse)?;
    pulse.begin_reading();
    for (index, entity) in part.entities.iter().copied().enumerate() {
        let mut rows = snapshot.rows(entity, scope, pulse)?;
        let failed = loop {
            match rows.next().await {
                Ok(Some(row)) => {
                    pulse.row_read();
                    writer.row(index, row).await?;
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
    let sets: Vec<usize> = file_sets(&steps.catalogue, &part).map(|(index, _)| index).collect();
    if sets.is_empty() {
        snapshot.close().await?;
        return writer.finish().await;
    }
    let listing = files::list(&mut snapshot, &steps.catalogue, &sets, scope, pulse).await?;
    // The files may take long, and the source is done.
    snapshot.close().await?;
    files::attach(listing, writer.join().await?, steps, pulse).await?.finish().await
}

/// Returns the sets of files that are in a part: those whose entity is.
fn file_sets<'c>(catalogue: &'c Catalogue, part: &Part) -> impl Iterator<Item = (usize, &'c FileSet)> {
    let is_in = |set: &FileSet| {
        part.entities.iter().any(|entity| catalogue.entities()[*entity].name == set.listing.name)
    };
    catalogue.files().iter().enumerate().filter(move |(_, set)| is_in(set))
}

fn describe(
    snapshot: &Snapshot,
    claim: &Claim,
    steps: &ExportSteps,
    part: &Part,
    formats: Formats,
) -> Contents {
    let catalogue: &Catalogue = &steps.catalogue;
    let entities =
        part.entities.iter().map(|entity| (&catalogue.entities()[*entity], &snapshot.plan.entities[*entity]));
    Contents {
        request_id: claim.request_id,
        user_id: claim.user_id.clone(),
        requested_at: claim.requested_at,
        snapshot_at: snapshot.snapshot_at,
        database_version: snapshot.server_version.clone(),
        catalogue_sha256: catalogue.sha256().to_owned(),
        catalogue_version: catalogue.version(),
        pseudonym_salt: claim.pseudonym_salt.clone(),
        notice: steps.settings.notice.clone(),
        deflate_level: steps.settings.deflate_level,
        checksum: steps.checksum,
        entities: entities.map(|(entity, plan)| describe_entity(entity, plan)).collect(),
        account: part
            .entities
            .iter()
            .position(|entity| *entity == catalogue.account_index())
            .unwrap_or_default(),
        formats,
        scope: part.scope.clone(),
        file_sets: file_sets(catalogue, part).map(|(_, set)| (set.name.clone(), set.about.clone())).collect(),
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
        options: entity.options.clone(),
    }
}
