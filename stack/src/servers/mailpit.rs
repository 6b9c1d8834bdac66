//! Mailpit, a real SMTP server that keeps what it gets, for people and tests to read.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ports, private, versitygw};
use crate::{
    supervisor::{Process, Supervisor, protocol::Program},
    tools, wait,
};

const START_BOUND: Duration = Duration::from_secs(30);

/// Where it listens.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Mailpit {
    smtp: u16,
    http: u16,
}

/// A mail that it got.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Its subject.
    pub subject: String,
    /// The plain form.
    pub text: String,
    /// The HTML form.
    pub html: String,
    /// `Message-ID` without its angle brackets.
    pub message_id: String,
    /// The headers; each has one value or more.
    pub headers: Value,
}

impl Mailpit {
    /// Starts it, with its data below `folder`. `arguments` are added to those that it needs.
    pub async fn start(
        supervisor: &Arc<Supervisor>,
        folder: &Path,
        last: Option<Self>,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<(Self, Process)> {
        let data = folder.join(name);
        private::folder(&data)?;
        let mut wanted = last.filter(|last| last.smtp != 0).map(|last| [last.smtp, last.http]);
        for _ in 0..ports::TRIES {
            let [smtp, http] = ports::free_again(wanted.take())?;
            let server = Self { smtp, http };
            let [smtp_at, http_at] = [smtp, http].map(|port| format!("127.0.0.1:{port}"));
            let database = data.join("mails.db").display().to_string();
            let own = ["--smtp", &smtp_at, "--listen", &http_at, "--database", &database];
            let all = [&own[..], &["--disable-version-check", "--max", "0", "--quiet"], arguments].concat();
            let process = supervisor.run(Program {
                name: name.to_owned(),
                path: tools::server("mailpit")?,
                arguments: all.iter().map(|&argument| argument.to_owned()).collect(),
                environment: BTreeMap::new(),
                ..Program::default()
            })?;
            match server.answers(&process).await {
                Ok(()) => return Ok((server, process)),
                Err(error) if !process.output().contains("address already in use") => return Err(error),
                Err(_) => {}
            }
        }
        bail!("the mail server found its ports taken {} times", ports::TRIES)
    }

    async fn answers(&self, process: &Process) -> anyhow::Result<()> {
        wait::until("the mail server answers", START_BOUND, || async {
            process.check_alive()?;
            let answers = self.get("/api/v1/info").await.is_ok();
            let takes = tokio::net::TcpStream::connect(("127.0.0.1", self.smtp)).await.is_ok();
            Ok((answers && takes).then_some(()))
        })
        .await
    }

    /// Returns the value of `EXPORT_SMTP_URL`.
    pub fn smtp_url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.smtp)
    }

    /// Returns the address under which its API answers.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = versitygw::http()?.get(format!("{}{path}", self.http_url())).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer.context("the mail server does not answer")?.json().await.context("its answer is not JSON")
    }

    /// Returns the mails to an address, the oldest first.
    pub async fn mails(&self, to: &str) -> anyhow::Result<Vec<Mail>> {
        let query: String = url::form_urlencoded::byte_serialize(format!("to:\"{to}\"").as_bytes()).collect();
        let found = self.get(&format!("/api/v1/search?limit=1000&query={query}")).await?;
        let mut mails = Vec::new();
        for found in found["messages"].as_array().into_iter().flatten().rev() {
            let id = found["ID"].as_str().context("a mail has no id")?;
            let mail = self.get(&format!("/api/v1/message/{id}")).await?;
            let headers = self.get(&format!("/api/v1/message/{id}/headers")).await?;
            let text = |name: &str| mail[name].as_str().unwrap_or_default().to_owned();
            mails.push(Mail {
                subject: text("Subject"),
                text: text("Text"),
                html: text("HTML"),
                message_id: text("MessageID"),
                headers,
            });
        }
        Ok(mails)
    }
}
