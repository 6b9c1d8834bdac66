//! Parquet: what libraries read in it is what JSON has, type by type, and `verify` proves it.

use std::{fs::File, path::Path, process::Command};

use export_activities::{
    archive::{EntityContents, columns::file_name, manifest::Manifest},
    serialise::{
        Column, ValueKind,
        formats::{
            FormatName, Formats,
            parquet::{ROW_GROUP_ROWS, VALUE_BYTES},
        },
    },
};
use export_verify::verify;
use serde_json::{Value, json};

use crate::{
    support::{
        hostile::tables,
        read_session::connect,
        sample::{contents, entity, row, write},
    },
    values::{
        verify::{join, parts, redigested, refused},
        workbook::{read, script, tool},
    },
};

/// Further values of each type beside its edges.
const VALUES: usize = 250;

/// Values at the limits of a type, by the type.
fn edges() -> Vec<(&'static str, ValueKind, Vec<String>)> {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let digits = |count| format!("-{}", "9".repeat(count));
    vec![
        ("numeric(9,2)", ValueKind::Numeric, owned(&["1234567.89", "-1234567.89", "0", "0.01", "NaN"])),
        ("numeric(10,0)", ValueKind::Numeric, owned(&["9999999999", "-1"])),
        ("numeric(18,18)", ValueKind::Numeric, owned(&["0.999999999999999999", "-0.000000000000000001"])),
        ("numeric(19,4)", ValueKind::Numeric, owned(&["999999999999999.9999", "-0.0001"])),
        ("numeric(38,0)", ValueKind::Numeric, vec![digits(38), "1".to_owned(), "NaN".to_owned()]),
        ("numeric(39,0)", ValueKind::Numeric, vec![digits(39), "NaN".to_owned()]),
        ("numeric", ValueKind::Numeric, owned(&["1.50", "-Infinity"])),
        (
            "date",
            ValueKind::Date,
            owned(&["0001-01-01", "9999-12-31", "10000-01-01", "0044-03-15 BC", "infinity", "1969-12-31"]),
        ),
        ("time", ValueKind::Time, owned(&["00:00", "23:59:59.999999", "24:00", "12:30:00.5"])),
        (
            "timestamp",
            ValueKind::Timestamp,
            owned(&[
                "0001-01-01",
                "9999-12-31 23:59:59.999999",
                "10000-01-01",
                "-infinity",
                "1969-12-31 23:59:59.9",
            ]),
        ),
        (
            "timestamptz",
            ValueKind::Timestamptz,
            owned(&["0001-01-01Z", "9999-12-31 23:59:59.999999Z", "0044-03-15 BC", "infinity"]),
        ),
        ("float4", ValueKind::Float4, owned(&["NaN", "-0", "Infinity", "1e-45", "3.4028235e38", "0.1"])),
        ("float8", ValueKind::Float8, owned(&["NaN", "-0", "-Infinity", "5e-324", "1.7976931348623157e308"])),
        ("bytea", ValueKind::Bytea, owned(&["", "\\x00ff", "=1+1"])),
    ]
}

/// pyarrow, DuckDB and Polars, which compare the Parquet files of an archive with its JSON files.
fn libraries(archive: &Path) -> Command {
    let mut command = Command::new(tool("venv/bin/python"));
    command.arg(script("parquet.py")).arg(archive);
    command
}

fn with_parquet(entities: Vec<EntityContents>) -> export_activities::archive::Contents {
    let mut contents = contents(entities);
    contents.formats = Formats::with([FormatName::Parquet]);
    contents
}

fn typed(name: &str, kind: ValueKind, pg_type: &str) -> EntityContents {
    let mut entity = entity(name, vec![("n", ValueKind::Int8), ("c", kind)]);
    entity.columns[1].pg_type = pg_type.to_owned();
    entity
}

fn manifest(path: &Path) -> Manifest {
    let mut zip = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    serde_json::from_reader(zip.by_name("manifest.json").unwrap()).unwrap()
}

#[tokio::test]
async fn hostile_values_of_every_type_are_read_alike() {
    let (mut entities, mut rows) = tables(&mut connect().await, VALUES, edges()).await;
    entities.push(entity("nothing", vec![("id", ValueKind::Int4), ("text", ValueKind::Text)]));
    rows.push(Vec::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    write(with_parquet(entities), rows, &path).await;
    verify(&path, None).unwrap();
    let said = read(&mut libraries(&path));
    let values: u64 = said.split_once(' ').unwrap().0.parse().unwrap();
    assert!(values > 20_000, "{said}");
}

/// Writes an archive with Parquet files to `path`.
async fn sound(path: &Path, second: &str) -> Vec<u8> {
    let columns = vec![("id", ValueKind::Int4), ("text", ValueKind::Text), ("at", ValueKind::Timestamptz)];
    let entities = vec![entity("users", columns.clone()), entity("projects", columns)];
    let users = [row(1, Some("one")), row(2, Some(second)), row(3, None), row(4, Some("four"))];
    // Microseconds since 2000: the last one is in the year 10000.
    let users = users.into_iter().zip([0_i64, 1, -1, 252_455_616_000_000_000]).map(|(mut row, at)| {
        row.push(Some(at.to_be_bytes().to_vec()));
        row
    });
    write(with_parquet(entities), vec![users.collect(), Vec::new()], path).await;
    std::fs::read(path).unwrap()
}

/// Changes the Parquet file of an entity.
fn rebuilt(archive: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut outer = parts(archive);
    let (_, file) = outer.iter_mut().find(|(name, _)| *name == file_name("users")).unwrap();
    change(file);
    join(redigested(outer))
}

#[tokio::test]
async fn parquet_of_other_contents_is_refused_even_with_right_digests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let other = sound(&path, "twO").await;
    let archive = sound(&path, "two").await;
    assert_eq!(verify(&path, None).unwrap().files, 14);
    read(&mut libraries(&path));
    assert_eq!(manifest(&path).entities[0].columns[2].nulls_in_parquet, Some(1));
    std::fs::write(&path, rebuilt(&archive, |_| ())).unwrap();
    verify(&path, None).unwrap();
    let held = |archive: &[u8], name: &str| {
        let name = file_name(name);
        parts(archive).into_iter().find(|(entry, _)| *entry == name).unwrap().1
    };
    let refuse = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        refused(&path, &rebuilt(&archive, change), expected);
    };
    let other = held(&other, "users");
    refuse(&|file| file.clone_from(&other), "`parquet/users.parquet`: rows 1 to 4: it differs from JSON");
    // A reader of the other kind finds the same.
    let output = libraries(&path).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("twO"));
    let none = held(&archive, "projects");
    refuse(&|file| file.clone_from(&none), "rows 1 to 4: it differs from JSON");
    refuse(&|file| file.truncate(20), "it differs from JSON");
    refuse(&|file| file.clear(), "it differs from JSON");
    refuse(&|file| file.push(0), "it has more than the rows");
    let end = |file: &mut Vec<u8>| {
        let at = file.len() - 12;
        file[at] ^= 1;
    };
    refuse(&end, "its end, after 4 rows: it differs from JSON");

    let changed = |pointer: &'static str, value: Value| {
        let mut outer = parts(&archive);
        let (_, text) = outer.last_mut().unwrap();
        let mut manifest: Value = serde_json::from_slice(text).unwrap();
        *manifest.pointer_mut(pointer).unwrap() = value;
        *text = serde_json::to_vec(&manifest).unwrap();
        join(redigested(outer))
    };
    let nulls = "/entities/0/columns/2/nulls_in_parquet";
    refused(&path, &changed(nulls, json!(0)), "column `at` has 1 values that Parquet cannot hold");
    refused(&path, &changed(nulls, Value::Null), "column `at` has a count of Parquet where there is none");
    refused(
        &path,
        &changed("/entities/0/columns/1/type", json!("json")),
        "its end, after 4 rows: it differs from JSON",
    );
    refused(&path, &changed("/files/7/rows", json!(5)), "two row counts for `parquet/users.parquet`");
    refused(&path, &changed("/files/7/rows", Value::Null), "two row counts for `parquet/users.parquet`");
    let mut without = parts(&archive);
    without.retain(|(name, _)| *name != file_name("users"));
    refused(&path, &join(without), "`parquet/users.parquet` is in the manifest, but not in the archive");
}

#[tokio::test]
async fn a_file_with_one_other_bit_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let archive = sound(&path, "two").await;
    let sound = parts(&archive).into_iter().find(|(name, _)| *name == file_name("users")).unwrap().1;
    // Every byte is compared alike, so some of them say enough.
    for at in (0..sound.len()).step_by(5) {
        std::fs::write(&path, rebuilt(&archive, |file| file[at] ^= 1 << (at % 8))).unwrap();
        let error = verify(&path, None).unwrap_err();
        assert!(format!("{error:#}").contains("it differs from JSON"), "byte {at}: {error:#}");
    }
}

#[tokio::test]
async fn rows_beyond_a_row_group_go_on_in_the_next() {
    let rows = i32::try_from(ROW_GROUP_ROWS).unwrap() + 2;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let ids = (1..=rows).map(|id: i32| vec![Some(id.to_be_bytes().to_vec()), None]).collect();
    // Five texts of 5 MiB: a row group is complete after four of them.
    let long = (1..=5).map(|id| row(id, Some(&"x".repeat(5 << 20)))).collect();
    let columns = vec![("id", ValueKind::Int4), ("text", ValueKind::Text)];
    let entities = vec![entity("runs", columns.clone()), entity("texts", columns)];
    write(with_parquet(entities), vec![ids, long], &path).await;
    verify(&path, None).unwrap();
    read(&mut libraries(&path));
    let groups = |name: &str| {
        let script = "import sys, zipfile, io, pyarrow.parquet as p\n\
            m = p.ParquetFile(io.BytesIO(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))).metadata\n\
            print([m.row_group(i).num_rows for i in range(m.num_row_groups)])";
        read(Command::new(tool("venv/bin/python")).args(["-c", script]).arg(&path).arg(file_name(name)))
    };
    assert_eq!(groups("runs"), format!("[{ROW_GROUP_ROWS}, 2]\n"));
    assert_eq!(groups("texts"), "[4, 1]\n");
}

#[tokio::test]
async fn a_value_too_long_for_a_row_group_is_null_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let jsonb = |length: usize| [&b"\x01[1, \""[..], &b"x".repeat(length - 5), b"\"]"].concat();
    let values = [
        (ValueKind::Text, "text", vec![b"x".repeat(VALUE_BYTES), b"x".repeat(VALUE_BYTES + 1)]),
        (ValueKind::Bytea, "bytea", vec![vec![7; VALUE_BYTES], vec![7; VALUE_BYTES + 1]]),
        (ValueKind::Jsonb, "jsonb", vec![jsonb(VALUE_BYTES - 1), jsonb(VALUE_BYTES)]),
    ];
    let (mut entities, mut rows) = (Vec::new(), Vec::new());
    for (kind, name, values) in values {
        entities.push(typed(name, kind, name));
        let numbered = (1_i64..).zip(values);
        rows.push(numbered.map(|(n, value)| vec![Some(n.to_be_bytes().to_vec()), Some(value)]).collect());
    }
    write(with_parquet(entities), rows, &path).await;
    verify(&path, None).unwrap();
    read(&mut libraries(&path));
    let counts: Vec<_> =
        manifest(&path).entities.into_iter().map(|entity| entity.columns[1].nulls_in_parquet).collect();
    assert_eq!(counts, [Some(1); 3]);
}

/// Memory holds a whole row, so its values have a limit together.
#[tokio::test]
async fn the_values_of_a_row_have_a_limit_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let columns = vec![("a", ValueKind::Text), ("b", ValueKind::Text), ("c", ValueKind::Text)];
    let value = |bytes: usize| Some(b"x".repeat(bytes));
    let half = VALUE_BYTES / 2;
    let rows = vec![
        vec![value(half), value(half), value(1)],
        vec![value(half), value(half + 1), value(1)],
        vec![value(1), value(1), value(1)],
    ];
    write(with_parquet(vec![entity("wide", columns)]), vec![rows], &path).await;
    verify(&path, None).unwrap();
    let counts: Vec<_> =
        manifest(&path).entities[0].columns.iter().map(|column| column.nulls_in_parquet).collect();
    assert_eq!(counts, [Some(0), Some(1), Some(1)]);
}

/// A pseudonym is a text, whatever its column was.
#[tokio::test]
async fn a_pseudonym_is_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let mut people = entity("people", vec![("id", ValueKind::Int4), ("by", ValueKind::Int8)]);
    let Column { treatment, .. } = &mut people.columns[1];
    *treatment = export_activities::serialise::Treatment::Pseudonym;
    let rows = vec![vec![Some(1_i32.to_be_bytes().to_vec()), Some(7_i64.to_be_bytes().to_vec())]];
    write(with_parquet(vec![people]), vec![rows], &path).await;
    verify(&path, None).unwrap();
    read(&mut libraries(&path));
}
