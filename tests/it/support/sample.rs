//! Archives of a few entities, for tests of the archive itself.

use std::{fs::File, path::Path};

use chrono::DateTime;
use export_activities::{
    archive::{Archive, ArchiveWriter, Contents, EntityContents, LeftOut, Omitted, manifest::Manifest},
    catalogue::{Catalogue, EntityPlan, Facts, Options},
    pulse::Pulse,
    serialise::{Column, Row, Treatment, ValueKind, formats::Formats},
    spool::Spool,
    store::Checksum,
};
use uuid::Uuid;

use super::{
    accounts::{open, rows},
    database::Database,
};

/// Describes an archive of these entities.
pub(crate) fn contents(entities: Vec<EntityContents>) -> Contents {
    Contents {
        request_id: Uuid::from_u128(1),
        user_id: Uuid::from_u128(2).into(),
        requested_at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        snapshot_at: DateTime::from_timestamp(1_700_000_060, 0).unwrap(),
        database_version: "15.0".to_owned(),
        catalogue_sha256: "0".repeat(64),
        catalogue_version: None,
        pseudonym_salt: b"salt".to_vec(),
        notice: Some(b"Notice.\r\n".to_vec()),
        deflate_level: 1,
        checksum: Checksum::Crc64Nvme,
        entities,
        account: 0,
        scope: None,
        formats: Formats::default(),
        file_sets: Vec::new(),
        left_out: vec![LeftOut {
            relation: "public.invoices".to_owned(),
            why: "They are elsewhere.".to_owned(),
        }],
    }
}

/// Describes an entity as a plan reads it.
pub(crate) fn planned(plan: &EntityPlan) -> EntityContents {
    EntityContents {
        name: plan.name.clone(),
        relation: plan.relation.clone(),
        about: "Everything.".to_owned(),
        columns: plan.columns.clone(),
        omitted: Vec::new(),
        order: plan.order.clone(),
        primary_key: plan.primary_key.clone(),
        facts: Facts::default(),
        options: Options::default(),
    }
}

pub(crate) fn entity(name: &str, columns: Vec<(&str, ValueKind)>) -> EntityContents {
    let column = |(name, kind): (&str, ValueKind)| Column {
        name: name.to_owned(),
        kind,
        treatment: Treatment::Export,
        pg_type: "a type".to_owned(),
        about: "Something.".to_owned(),
        why: String::new(),
    };
    EntityContents {
        name: name.to_owned(),
        relation: format!("public.{name}"),
        about: format!("Your {name}."),
        columns: columns.into_iter().map(column).collect(),
        omitted: vec![Omitted {
            name: "secret".to_owned(),
            pg_type: "text".to_owned(),
            why: "It is a secret.".to_owned(),
        }],
        order: vec![0],
        primary_key: Vec::new(),
        facts: Facts::default(),
        options: Options::default(),
    }
}

/// Writes an archive of these rows, one list for each entity, and puts it at `path`.
pub(crate) async fn write<R: Row>(contents: Contents, rows: Vec<Vec<R>>, path: &Path) -> Archive {
    let spool = Spool::new(&path.with_extension("spool"), 1 << 32).unwrap();
    let mut writer = ArchiveWriter::create(contents, &spool, &Pulse::default()).unwrap();
    for (index, rows) in rows.into_iter().enumerate() {
        for row in rows {
            writer.row(index, row).await.unwrap();
        }
    }
    let archive = writer.finish().await.unwrap();
    let mut source = &archive.file;
    std::io::Seek::rewind(&mut source).unwrap();
    std::io::copy(&mut source, &mut File::create(path).unwrap()).unwrap();
    archive
}

/// Writes the archive of an account to `path`, with all its entities.
pub(crate) async fn export(database: &Database, catalogue: &Catalogue, user: Uuid, path: &Path) {
    let source = database.source();
    let mut snapshot = open(&source, catalogue, user).await.unwrap();
    let mut read = Vec::new();
    for entity in 0..snapshot.plan.entities.len() {
        read.push(rows(&mut snapshot, entity).await);
    }
    let entities = snapshot.plan.entities.iter().map(planned).collect();
    snapshot.close().await.unwrap();
    write(contents(entities), read, path).await;
}

/// Unpacks an archive into a folder, and returns its manifest.
pub(crate) fn unpack(path: &Path, folder: &Path) -> Manifest {
    zip::ZipArchive::new(File::open(path).unwrap()).unwrap().extract(folder).unwrap();
    serde_json::from_reader(File::open(folder.join("manifest.json")).unwrap()).unwrap()
}

/// A row without a server: an id and a text.
pub(crate) fn row(id: i32, text: Option<&str>) -> Vec<Option<Vec<u8>>> {
    vec![Some(id.to_be_bytes().to_vec()), text.map(|text| text.as_bytes().to_vec())]
}

/// Exports every column of a first catalogue that is still undecided.
pub(crate) fn decided(first: &str) -> String {
    first.replace("use = \"UNDECIDED\"", "use = \"export\"")
}
