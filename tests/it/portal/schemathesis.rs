//! Schemathesis calls the API with what its description allows and forbids, as four callers.

use std::{path::Path, time::Duration};

use export_stack::{tools, wait};
use futures::future::join_all;
use serde_json::json;
use tokio::process::Command;

use crate::support::{
    issuer_of::{Issuer, Key},
    portal_of::Portal,
};

/// It keeps under the twenty calls a second that a caller may make.
const LONGEST: Duration = Duration::from_secs(400);

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_calls_find_nothing_that_the_description_does_not_say() {
    let key = Key::ed("ed");
    let issuer = Issuer::new(&[&key]).await;
    let portal = Portal::with(&issuer.settings()).await;
    let by_token = issuer.token(&key, json!({"sub": "8", "org_id": "a", "roles": ["manager"]}));
    let operator = json!({"user_id": "9", "org_id": "a", "roles": ["admin", "operator"], "members": ["7"]});
    let callers = [portal.key.clone(), portal.person("7").await, portal.session(&operator).await, by_token];
    let folder = tempfile::tempdir().unwrap();
    let runs = callers.map(|token| run(&portal, token, folder.path()));
    let ended = wait::within("Schemathesis", LONGEST, join_all(runs)).await.unwrap();
    let mut calls = 0;
    for (is_success, said) in ended {
        assert!(is_success, "{said}");
        let generated = said
            .lines()
            .find_map(|line| line.trim().split_once(" generated")?.0.replace(',', "").parse::<usize>().ok());
        calls += generated.unwrap_or_else(|| panic!("{said}"));
    }
    assert!(calls >= 2000, "only {calls} calls");
}

async fn run(portal: &Portal, token: String, folder: &Path) -> (bool, String) {
    let program = tools::root().join(".tools/bench/venv/bin/schemathesis");
    let config = tools::root().join("tests/it/portal/schemathesis.toml");
    let mut command = Command::new(&program);
    command.arg("--config-file").arg(config).arg("run").arg(format!("{}/v1/openapi.json", portal.url));
    command.args([
        "--checks",
        "all",
        "--max-examples",
        "40",
        "--seed",
        "1",
        "--rate-limit",
        "18/s",
        "--no-color",
    ]);
    // A session that ends itself could not go on, and a stream that does not end would be waited for.
    command.args(["--exclude-path", "/v1/sessions/current", "--exclude-path", "/v1/exports/{id}/events"]);
    command
        .arg("--header")
        .arg(format!("Authorization: Bearer {token}"))
        .current_dir(folder)
        .kill_on_drop(true);
    let output = command.output().await;
    let output = output.unwrap_or_else(|error| panic!("`{}` is missing: {error}", program.display()));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}
