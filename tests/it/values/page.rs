//! `index.html` of an archive, opened from disk in a real browser. The script tells what it found.

use std::{path::Path, process::Stdio, time::Duration};

use export_stack::{platform::SeedOptions, tools, wait};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    accounts::reference,
    sample::{export, unpack},
};

/// The whole script, on a busy machine.
const LONGEST: Duration = Duration::from_secs(300);

/// Opens the page of an unpacked archive, and does what its reader may do.
async fn look(index: &Path, zip: &Path, facts: &Value) -> Value {
    let chromium = tools::on_path("chromium").expect("Chromium is missing: run `make readers`");
    let modules = tools::root().join(".tools/page/node_modules");
    assert!(modules.join("playwright-core").exists(), "Playwright is missing: run `make readers`");
    let mut node = Command::new(tools::on_path("node").expect("Node.js is missing: run `make readers`"));
    node.arg(tools::root().join("tests/it/values/page.mjs")).args([index, zip]);
    node.current_dir(zip.parent().unwrap()).kill_on_drop(true).stdin(Stdio::null());
    node.env("PAGE_MODULES", modules).env("PAGE_CHROMIUM", chromium).env("PAGE_FACTS", facts.to_string());
    let output = wait::within("the page of an archive", LONGEST, node.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_archive_shows_searches_and_saves_it_and_asks_nobody() {
    let (database, catalogue, seeded) =
        reference(SeedOptions { heavy_runs: 2000, ..SeedOptions::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let (zip, unpacked) = (folder.path().join("export.zip"), folder.path().join("export"));
    export(&database, &catalogue, seeded.heavy, &zip).await;
    let manifest = unpack(&zip, &unpacked);
    let csv = |name: &str| std::fs::read(unpacked.join(format!("csv/{name}.csv"))).unwrap();
    let text = String::from_utf8(csv("pipeline_runs")).unwrap();
    let id = text
        .trim_end()
        .rsplit("\r\n")
        .find_map(|line| line.get(..36).filter(|id| id.matches('-').count() == 4));
    let id = id.unwrap();
    let facts = json!({"searches": [
        {"set": "pipeline_runs", "text": id.to_uppercase()},
        {"set": "pipeline_runs", "column": "id", "how": "is", "value": id},
        {"set": "users", "text": "there is no such text"},
    ]});
    let index = unpacked.join("index.html");
    let found = look(&index, &zip, &facts).await;

    for (what, expected) in [("requests", json!([])), ("dialogs", json!([])), ("complaints", json!([]))] {
        assert_eq!(found[what], expected, "{what}");
    }
    for (view, seen) in found["views"].as_object().unwrap() {
        assert_eq!(*seen, json!({"axe": [], "cut_off": 0, "small": []}), "{view}");
    }
    assert_eq!(found["views"].as_object().unwrap().len(), 15);
    assert_eq!(found["print"]["cut_off"], json!([]));
    assert_eq!(found["without_script"]["search_is_hidden"], true);
    for entity in &manifest.entities {
        let saved = std::fs::read(found["saved"][&entity.name]["file"].as_str().unwrap()).unwrap();
        assert!(saved == csv(&entity.name), "the saved rows of {} differ from its CSV file", entity.name);
    }
    for (index, shown) in [(0, 1), (1, 1), (2, 0)] {
        assert_eq!(found["searches"][index]["shown"], shown, "{}", found["searches"][index]);
    }
    assert_eq!(found["searches"][0]["first"][0], id);
    for (what, said) in [
        ("not_a_zip", "not a zip"),
        ("cut", "not complete"),
        ("damaged", "damaged"),
        ("then_good", "found in"),
        ("other_request", "another request"),
        ("old_browser", "too old"),
    ] {
        let problem = found["problems"][what].as_str().unwrap();
        assert!(problem.contains(said), "{what}: {problem}");
    }
    // The controls: the policy refuses what is added, and axe sees a button without a name.
    assert_eq!(found["policy"]["has_run"], false);
    assert_eq!(found["policy"]["has_loaded"], false);
    assert_eq!(found["policy"]["has_fetched"], false);
    assert!(found["policy"]["refused"].as_u64().unwrap() >= 3, "{}", found["policy"]);
    assert_eq!(found["control"], json!(["button-name"]));
    let page = std::fs::read_to_string(index).unwrap();
    assert!(page.contains(&format!("{}", manifest.request_id)) && page.contains("Your account"));
}
