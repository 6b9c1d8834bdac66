//! `import/postgresql.sql` loads an archive into PostgreSQL, and an export of that gives the same JSON again.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    path::Path,
    process::{Command, Output},
};

use export_activities::{
    archive::manifest::{Entity, Manifest},
    catalogue::Catalogue,
    serialise::ValueKind,
};
use export_stack::{platform::SeedOptions, servers::postgres::Role, shared::stack, tools};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    support::{
        accounts::reference,
        database::{Database, database as new_database, run},
        sample::{contents, entity, export, unpack, write},
    },
    values::types::{USER, zoo},
};

/// Runs the import in a folder with PostgreSQL's own client.
pub(super) async fn import(database: &Database, folder: &Path) -> Output {
    let url = url::Url::parse(&database.read_url).unwrap();
    let postgres = &stack().await.unwrap().servers().postgres;
    let mut psql = Command::new(tools::postgresql().unwrap().join("psql"));
    psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", "import/postgresql.sql"])
        .envs(postgres.libpq(Role::Superuser, url.path().trim_start_matches('/')))
        .current_dir(folder);
    tokio::task::spawn_blocking(move || psql.output().unwrap()).await.unwrap()
}

/// Returns a catalogue that reads the imported tables as `by` and `order` of the first catalogue say.
fn imported_catalogue(manifest: &Manifest, first: &Catalogue) -> Catalogue {
    let mut text = "[keys.account]\nquery = \"select $1::pg_catalog.uuid as key\"\n".to_owned();
    for (index, (entity, first)) in manifest.entities.iter().zip(first.entities()).enumerate() {
        let (name, by) = (&entity.name, &first.by[0]);
        let keys = if index == 0 { "account" } else { name };
        if index > 0 {
            let query = format!("select t.{by} as key from data_export.{name} t where $1 <> ''");
            let _ = writeln!(
                text,
                "[keys.{name}]\nquery = {query:?}\nreads = {{ \"data_export.{name}\" = [\"{by}\"] }}"
            );
        }
        let _ = writeln!(
            text,
            "[entity.{name}]\nrelation = \"data_export.{name}\"\nkeys = {keys:?}\nby = {by:?}\norder = {:?}\n[entity.{name}.columns]",
            first.order
        );
        for column in &entity.columns {
            let pg_type = column.written_type.as_deref().unwrap();
            let _ = writeln!(text, "{} = {{ type = {pg_type:?}, use = \"export\" }}", column.name);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalogue.toml"), text).unwrap();
    Catalogue::load(folder.path()).unwrap()
}

/// Exports, imports and exports again. Returns both folders, and the manifest.
async fn there_and_back(
    database: &Database,
    catalogue: &Catalogue,
    user: Uuid,
) -> (tempfile::TempDir, [std::path::PathBuf; 2], Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let zip = |folder: &Path| folder.with_extension("zip");
    export(database, catalogue, user, &zip(&first)).await;
    let manifest = unpack(&zip(&first), &first);

    let empty = new_database().await;
    let output = import(&empty, &first).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = imported_catalogue(&manifest, catalogue);
    run(&empty.owner, again.grants()).await;
    export(&empty, &again, user, &zip(&second)).await;
    unpack(&zip(&second), &second);
    (folder, [first, second], manifest)
}

#[tokio::test]
async fn an_imported_archive_exports_the_same_json_byte_for_byte() {
    let (database, catalogue, seeded) =
        reference(SeedOptions { heavy_runs: 3000, ..SeedOptions::default() }).await;
    let (_folder, [first, second], manifest) = there_and_back(&database, &catalogue, seeded.heavy).await;
    let mut count = 0;
    for Entity { name, rows, .. } in &manifest.entities {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(format!("json/{name}.json"))).unwrap();
        let (first, second) = (read(&first), read(&second));
        for (row, (first, second)) in first.lines().zip(second.lines()).enumerate() {
            assert_eq!(first, second, "{name}, line {row}");
        }
        assert_eq!(first.len(), second.len(), "{name}");
        count += rows;
    }
    assert!(count > 3000, "{count}");
}

#[tokio::test]
async fn values_of_every_type_come_back_as_they_were() {
    let database = new_database().await;
    let catalogue = zoo(&database).await;
    let (_folder, folders, manifest) = there_and_back(&database, &catalogue, USER).await;
    let [first, second] = folders.map(|folder| -> Vec<BTreeMap<String, Box<RawValue>>> {
        serde_json::from_reader(File::open(folder.join("json/zoo.json")).unwrap()).unwrap()
    });
    assert_eq!(first.len(), second.len());
    for column in &manifest.entities[0].columns {
        // Half a character was escaped, and its escape is escaped again.
        if column.cells_with_escaped_halves.is_some_and(|count| count > 0) {
            continue;
        }
        for (row, (first, second)) in first.iter().zip(&second).enumerate() {
            let (first, second) = (first[&column.name].get(), second[&column.name].get());
            assert_eq!(first, second, "`{}` of type {}, row {row}", column.name, column.pg_type);
        }
    }
}

#[tokio::test]
async fn an_import_takes_all_or_nothing() {
    let (database, catalogue, seeded) = reference(SeedOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let (zip, unpacked) = (folder.path().join("export.zip"), folder.path().join("export"));
    export(&database, &catalogue, seeded.heavy, &zip).await;
    unpack(&zip, &unpacked);
    std::fs::write(unpacked.join("json/releases.json"), "[\n{\"id\":\"none\"}\n]\n").unwrap();
    let empty = new_database().await;
    let output = import(&empty, &unpacked).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("uuid"), "{said}");
    let tables = "select count(*) from pg_class where relnamespace = to_regnamespace('data_export')";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&empty.owner).await.unwrap();
    assert_eq!(tables, 0);
}

#[tokio::test]
async fn a_nul_in_json_is_replaced_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (zip, unpacked) = (folder.path().join("export.zip"), folder.path().join("export"));
    let columns = vec![("id", ValueKind::Int4), ("v", ValueKind::Json), ("w", ValueKind::Text)];
    let json = r#"{"a\\\u0000":"\u0000\u0000 \\u0000 \\\u0000"}"#;
    let rows = [json, "1"].into_iter().zip(1_i32..).map(|(json, id)| {
        vec![Some(id.to_be_bytes().to_vec()), Some(json.as_bytes().to_vec()), Some(b"\\u0000".to_vec())]
    });
    write(contents(vec![entity("things", columns)]), vec![rows.collect()], &zip).await;
    unpack(&zip, &unpacked);
    let empty = new_database().await;
    let output = import(&empty, &unpacked).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("rows of things in which \\u0000 became \\ufffd") && said.contains(" 1\n"),
        "{said}"
    );
    let values = "select v::text, w from data_export.things order by id";
    let values: Vec<(String, String)> = sqlx::query_as(values).fetch_all(&empty.owner).await.unwrap();
    let replaced = r#"{"a\\\ufffd":"\ufffd\ufffd \\u0000 \\\ufffd"}"#;
    assert_eq!(values[0], (replaced.to_owned(), "\\u0000".to_owned()));
    assert_eq!(values[1].0, "1");
}
