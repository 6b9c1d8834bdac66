//! Archives open in every reader that a user may have, and the same rows give the same bytes.

use std::path::Path;

use export_activities::serialise::ValueKind;
use export_verify::verify;
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgRow};

use crate::{
    support::{
        hostile::{TYPES_SQL, types},
        read_session::connect,
        readers::{opens_everywhere, readers},
        sample::{contents, entity, row, write},
    },
    values::verify::{join, parts, refused},
};

#[tokio::test]
async fn every_reader_opens_an_archive_of_hostile_values_of_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let mut connection = connect().await;
    let (columns, rows) = hostile_rows(&mut connection).await;
    let columns = columns.iter().map(|(name, kind)| (name.as_str(), kind.clone())).collect::<Vec<_>>();
    let count = rows.len();
    let entities = vec![entity("everything", columns.clone()), entity("nothing", columns.clone())];
    let archive = write(contents(entities), vec![rows, Vec::new()], &path).await;
    let report = verify(&path, Some(&hex::encode(archive.sha256))).unwrap();
    assert_eq!(report.bytes, archive.bytes);
    assert_eq!(report.entities[0].rows, count as u64);
    opens_everywhere(&path, count * columns.len());
}

#[tokio::test]
async fn the_same_rows_and_the_same_moment_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut digests = Vec::new();
    for name in ["first.zip", "second.zip"] {
        let (columns, rows) = hostile_rows(&mut connect().await).await;
        let columns = columns.iter().map(|(name, kind)| (name.as_str(), kind.clone())).collect();
        let path = folder.path().join(name);
        digests.push(write(contents(vec![entity("everything", columns)]), vec![rows], &path).await.sha256);
    }
    assert_eq!(digests[0], digests[1]);
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("first.zip"), bytes("second.zip"));
}

#[tokio::test]
async fn an_archive_without_a_row_opens_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let columns = vec![("id", ValueKind::Int4)];
    let entities = vec![entity("users", columns.clone()), entity("projects", columns)];
    let rows: Vec<Vec<Vec<Option<Vec<u8>>>>> = vec![Vec::new(), Vec::new()];
    write(contents(entities), rows, &path).await;
    verify(&path, None).unwrap();
    opens_everywhere(&path, 0);
}

#[tokio::test]
async fn the_readers_refuse_a_damaged_archive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let columns = vec![("id", ValueKind::Int4), ("text", ValueKind::Text)];
    let rows = (0..2000).map(|id| row(id, Some("some text"))).collect();
    write(contents(vec![entity("users", columns)]), vec![rows], &path).await;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&path, bytes).unwrap();
    for (mut reader, _) in readers(&path) {
        let name = reader.get_program().to_owned();
        assert!(!reader.output().unwrap().status.success(), "{name:?}");
    }
}

#[test]
fn archives_of_both_formats_are_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("archives/v1.zip");
    let report = verify(&path, None).unwrap();
    assert_eq!((report.files, report.entities.len()), (13, 5));
    let second = verify(&path.with_file_name("v2.zip"), None).unwrap();
    assert_eq!((second.files, second.entities.len()), (17, 5));
    let workbook = verify(&path.with_file_name("v2-workbook.zip"), None).unwrap();
    assert_eq!((workbook.files, workbook.entities.len()), (13, 2));
    let all = verify(&path.with_file_name("v2-parquet.zip"), None).unwrap();
    assert_eq!((all.files, all.entities.len()), (23, 5));
    let folder = tempfile::tempdir().unwrap();
    let path_2 = folder.path().join("export.zip");
    // It lacks what the second format has.
    let mut changed = parts(&std::fs::read(&path).unwrap());
    let manifest = String::from_utf8(changed.last().unwrap().1.clone()).unwrap();
    changed.last_mut().unwrap().1 = manifest.replace("data-export/1", "data-export/2").into_bytes();
    refused(&path_2, &join(changed), "in which type each column is written");
}

/// Makes a table with a column of each type and a row for each of its edges.
async fn hostile_rows(connection: &mut PgConnection) -> (Vec<(String, ValueKind)>, Vec<PgRow>) {
    sqlx::raw_sql(TYPES_SQL).execute(&mut *connection).await.unwrap();
    let types = types();
    let longest = types.iter().map(|tested| tested.edges.len()).max().unwrap();
    let mut columns = vec![("n".to_owned(), ValueKind::Int4)];
    let mut select = vec!["n::int4".to_owned()];
    for (index, tested) in types.iter().enumerate() {
        let edges = tested.edges.iter().map(|edge| format!("'{}'", edge.replace('\'', "''")));
        let edges = edges.collect::<Vec<_>>().join(",");
        let value = format!("(select {} from (select (array[{edges}]::text[])[n]) u(v))", tested.made_by);
        let cast = if tested.as_text { "::text" } else { "" };
        select.push(format!("{value}{cast} as c{index}"));
        columns.push((format!("c{index}"), tested.kind.clone()));
    }
    let sql = format!("select {} from generate_series(1, {longest}) n order by n", select.join(", "));
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
    (columns, rows)
}
