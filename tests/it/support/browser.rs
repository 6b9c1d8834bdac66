//! A real browser before a portal: a script of `tests/it/portal/page` drives Chromium, and orders here what only the
//! servers can do.

use std::{path::PathBuf, process::Stdio, time::Duration};

use export_stack::{
    instruments::proxy::{Mode, Proxy},
    servers::ports,
    tools, wait,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::support::{
    installation_of::{self, Given},
    night_of::SOON,
    portal_of::{Portal, read},
    servers::proxied,
};

/// Time limit of one script: several times what it takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

/// A portal, and the proxy before it that can be cut.
pub(crate) struct Browser {
    pub(crate) portal: Portal,
    proxy: Proxy,
    url: String,
    /// The port of a page of another origin, which may call the API.
    host: u16,
}

impl Browser {
    pub(crate) async fn before(given: Given) -> Self {
        Self::with(given, &[]).await
    }

    /// Starts a portal whose settings differ.
    pub(crate) async fn with(given: Given, settings: &[(&str, &str)]) -> Self {
        let [host] = ports::free().unwrap();
        let origin = format!("http://127.0.0.1:{host}");
        let settings = [&[("EXPORT_PORTAL_ORIGINS", origin.as_str())], settings].concat();
        let portal = Box::pin(Portal::on(given, &settings)).await;
        let (proxy, url) = proxied(&portal.url).await;
        let url = url.trim_end_matches('/').to_owned();
        sqlx::query("update public.data_export_policy set ask_every = interval '0'")
            .execute(&portal.given.owner)
            .await
            .unwrap();
        Self { portal, proxy, url, host }
    }

    /// Runs a script to its end, which must be a success.
    pub(crate) async fn run(&self, script: &str) {
        self.run_with(script, &Value::Null).await;
    }

    /// Runs a script that knows these facts.
    pub(crate) async fn run_with(&self, script: &str, facts: &Value) {
        let folder = tempfile::tempdir().unwrap();
        let chromium = tools::on_path("chromium").expect("Chromium is missing: run `make readers`");
        let modules = tools::root().join(".tools/page/node_modules");
        assert!(modules.join("playwright-core").exists(), "Playwright is missing: run `make readers`");
        let mut command =
            Command::new(tools::on_path("node").expect("Node.js is missing: run `make readers`"));
        command.arg(folder_of_scripts().join(script)).current_dir(folder.path()).kill_on_drop(true);
        command.env("PAGE_MODULES", modules).env("PAGE_CHROMIUM", chromium);
        command.env("PAGE_FACTS", facts.to_string());
        command.env("PAGE_PORTAL", &self.url).env("PAGE_HOST_PORT", self.host.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut orders = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut answers = child.stdin.take().unwrap();
        let mut said = String::new();
        let served = Box::pin(wait::within(script, LONGEST, async {
            while let Some(line) = orders.next_line().await.unwrap() {
                match serde_json::from_str::<Value>(&line) {
                    Ok(order) => {
                        let answer = format!("{}\n", self.serve(&order).await);
                        answers.write_all(answer.as_bytes()).await.unwrap();
                    }
                    Err(_) => said += &format!("{line}\n"),
                }
            }
        }));
        served.await.unwrap_or_else(|error| panic!("{script}: {error}"));
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Does what a script orders.
    async fn serve(&self, order: &Value) -> Value {
        let owner = &self.portal.given.owner;
        let text = |name: &str| order[name].as_str().unwrap_or_else(|| panic!("{order}")).to_owned();
        match text("do").as_str() {
            "person" => json!(installation_of::user_with_project(owner).await),
            "sign in" => {
                let call = self.portal.post("/v1/sessions", &self.portal.key, &order["body"]);
                let (status, body) = read(call.send().await.unwrap()).await;
                assert_eq!(status, StatusCode::CREATED, "{body}");
                let path = body["url"].as_str().unwrap().split_once("/s/").unwrap().1.to_owned();
                json!({"url": format!("{}/s/{path}", self.url), "token": body["token"]})
            }
            "fulfil" => {
                self.portal.fulfil(text("id").parse().unwrap()).await;
                Value::Null
            }
            "sql" => {
                let rows: Vec<String> =
                    sqlx::query_scalar(sqlx::AssertSqlSafe(text("text"))).fetch_all(owner).await.unwrap();
                json!(rows)
            }
            "cut" => {
                self.proxy.set(Mode::Cut);
                // So that a cut is one, although it may be over at once.
                wait::until("the cut", SOON, || async { Ok((self.proxy.open() == 0).then_some(())) })
                    .await
                    .unwrap();
                Value::Null
            }
            "pass" => {
                self.proxy.set(Mode::Pass);
                Value::Null
            }
            other => panic!("no order `{other}`"),
        }
    }
}

fn folder_of_scripts() -> PathBuf {
    tools::root().join("tests/it/portal/page")
}
