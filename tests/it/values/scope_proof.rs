//! `verify` and other programs find that a part is what was asked for, with everything that it refers to.

use std::collections::BTreeMap;

use export_activities::scope::Scope;
use export_stack::servers::postgres::Role;
use export_verify::verify;
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;

use super::{
    import::import,
    verify::{Parts, join, parts, redigested},
};
use crate::support::{
    database::{database, run},
    installation_of::Given,
    readers::readers,
    sample::unpack,
    studio::{archive, owned, studio},
};

/// Breaks one promise.
type Change<'a> = &'a dyn Fn(&mut Parts);

/// The archive of some cards of a user, and where it came from.
struct Cards {
    bytes: Vec<u8>,
    superuser: PgPool,
    folder: TempDir,
    _given: Given,
}

async fn cards() -> Cards {
    let (given, steps, folder) = Box::pin(studio()).await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    let scope = Scope {
        entities: Some(owned(&["cards"])),
        since: Some("2026-02-01T00:00:00Z".parse().unwrap()),
        until: Some("2026-05-01T00:00:00Z".parse().unwrap()),
        filters: BTreeMap::from([(
            "cards".to_owned(),
            BTreeMap::from([("size".to_owned(), owned(&["1", "2"]))]),
        )]),
    };
    let bytes = archive(&steps, &superuser, 1, &scope).await;
    Cards { bytes, superuser, folder, _given: given }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_rows_that_were_not_asked_for_and_rows_that_are_missing() {
    let Cards { bytes, folder, .. } = cards().await;
    let path = folder.path().join("changed.zip");
    let refused = |change: &dyn Fn(&mut Parts)| {
        let mut changed = parts(&bytes);
        change(&mut changed);
        std::fs::write(&path, join(redigested(changed))).unwrap();
        verify(&path, None).map_err(|error| format!("{error:#}")).err()
    };
    assert_eq!(refused(&|_| {}), None);
    let manifest = |parts: &mut Parts, pointer: &str, value: Value| {
        let (_, text) = parts.last_mut().unwrap();
        let mut manifest: Value = serde_json::from_slice(text).unwrap();
        match manifest.pointer_mut(pointer) {
            Some(member) => *member = value,
            // One that is not written when it is empty.
            None => manifest[pointer.trim_start_matches('/')] = value,
        }
        *text = serde_json::to_vec(&manifest).unwrap();
    };
    // A row that is taken out of both formats of an entity, with the counts put right.
    let without_row = |parts: &mut Parts| {
        for (name, text) in parts.iter_mut() {
            if name == "json/boards.json" || name == "csv/boards.csv" {
                let mut lines: Vec<_> =
                    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                lines.remove(1);
                *text = lines.concat();
            }
        }
        let (_, text) = parts.last_mut().unwrap();
        let mut manifest: Value = serde_json::from_slice(text).unwrap();
        let entities = manifest["entities"].as_array_mut().unwrap();
        let boards = entities.iter_mut().find(|entity| entity["name"] == "boards").unwrap();
        let rows = boards["rows"].as_u64().unwrap() - 1;
        boards["rows"] = rows.into();
        for file in manifest["files"].as_array_mut().unwrap() {
            if file["name"].as_str().unwrap().contains("/boards.") {
                file["rows"] = rows.into();
            }
        }
        *text = serde_json::to_vec(&manifest).unwrap();
    };
    let cases: [(Change<'_>, &str); 13] = [
        (
            &|parts| manifest(parts, "/scope/since", json!("2026-03-01T00:00:00Z")),
            "the row is from before the time that was asked for",
        ),
        (
            &|parts| manifest(parts, "/scope/until", json!("2026-03-01T00:00:00Z")),
            "the row is from after the time that was asked for",
        ),
        (
            &|parts| manifest(parts, "/scope/filters/cards/size", json!(["1"])),
            "the value is none of those that were asked for",
        ),
        (
            &|parts| manifest(parts, "/scope/complete", json!(true)),
            "the manifest says that a part of the data is complete",
        ),
        (
            &|parts| manifest(parts, "/scope/entities", json!(["cards", "people"])),
            "its entities are not those that the manifest says were asked for",
        ),
        (
            &|parts| manifest(parts, "/scope", json!({"complete": false})),
            "the manifest says that it is a part, and not of what",
        ),
        (
            &|parts| {
                manifest(parts, "/scope", json!({"complete": false, "entities": ["cards"], "exclude": []}))
            },
            "`manifest.json` is not readable",
        ),
        (
            &|parts| manifest(parts, "/scope/until", json!("2026-01-01T00:00:00Z")),
            "the time span of the part ends before it begins",
        ),
        (
            &|parts| {
                manifest(
                    parts,
                    "/file_sets",
                    json!([{"name": "scans", "entity": "notes", "about": "Scans.",
                "files": [], "missing": [], "too_many": 0}]),
                )
            },
            "the files `scans` belong to `notes`, which is not in the archive",
        ),
        (
            &|parts| manifest(parts, "/scope", Value::Null),
            "the manifest is wrong on whether a time span was asked for",
        ),
        (
            &|parts| manifest(parts, "/entities/1/time", json!("made")),
            "`cards` has no column `made`, by which its rows are checked",
        ),
        (
            &|parts| manifest(parts, "/entities/1/references", json!({"board_id": "lanes"})),
            "`cards` refers to `lanes`, which is not in the archive",
        ),
        (&without_row, "it refers to a row that is not in `json/boards.json`"),
    ];
    for (change, expected) in cases {
        let error = refused(change).expect(expected);
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_read_a_part_and_find_its_references_whole() {
    let Cards { bytes, folder, .. } = cards().await;
    let path = folder.path().join("part.zip");
    std::fs::write(&path, &bytes).unwrap();
    let (mut strict, _) = readers(&path).into_iter().find(|(_, expected)| *expected == " rows\n").unwrap();
    let output = strict.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let unpacked = folder.path().join("part");
    unpack(&path, &unpacked);
    let empty = database().await;
    let output = import(&empty, &unpacked).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // It was made without a look at the rows. That look finds nothing wrong, but for a row that is taken out.
    let validate = "alter table data_export.cards validate constraint cards_board_id_fkey";
    let mut lost = empty.owner.begin().await.unwrap();
    sqlx::raw_sql(
        "alter table data_export.cards drop constraint cards_board_id_fkey; delete from data_export.boards;
        alter table data_export.cards add foreign key (board_id) references data_export.boards not valid",
    )
    .execute(&mut *lost)
    .await
    .unwrap();
    let error = sqlx::raw_sql(validate).execute(&mut *lost).await.unwrap_err().to_string();
    assert!(error.contains("violates foreign key constraint"), "{error}");
    lost.rollback().await.unwrap();
    run(&empty.owner, validate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_learns_first_that_it_is_a_part_and_the_log_has_no_value() {
    let Cards { bytes, superuser, folder: _folder, _given } = cards().await;
    let text = |name: &str| {
        let (_, text) = parts(&bytes).into_iter().find(|(entry, _)| entry == name).unwrap();
        String::from_utf8(text).unwrap()
    };
    let readme = text("README.txt").replace("\r\n", "\n");
    assert!(readme.starts_with(
        "THIS IS A PART OF YOUR DATA\n\nThis archive holds a copy of a part of your data, as it was at "
    ));
    let (_, asked) = readme.split_once("Only this was asked for:\n\n").unwrap();
    insta::assert_snapshot!(asked.split_once("\n\n").unwrap().0, @r#"
    - These data sets: people, cards, boards.
    - Of cards, only rows whose made_at is at or after 2026-02-01T00:00:00Z and before 2026-05-01T00:00:00Z (UTC).
    - Of cards, only rows whose size is "1" or "2".
    "#);
    assert!(text("index.html").contains("<h1>A part of your data</h1>"));
    // The log says which columns were filtered, and no value.
    let logged: Value =
        sqlx::query_scalar("select scope from public.data_export_events where kind = 'ready'")
            .fetch_one(&superuser)
            .await
            .unwrap();
    insta::assert_snapshot!(
        logged,
        @r#"{"entities":["cards"],"filters":{"cards":["size"]},"since":"2026-02-01T00:00:00+00:00","until":"2026-05-01T00:00:00+00:00"}"#
    );
}
