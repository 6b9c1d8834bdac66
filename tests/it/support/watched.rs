//! A worker's HTTP endpoints: its metrics and its probes.

use export_stack::{supervisor::Process, wait};
use reqwest::StatusCode;

use crate::support::night_of::SOON;

/// At a free port, which the worker names in its log.
pub(crate) const ANYWHERE: (&str, &str) = ("EXPORT_HTTP_ADDR", "127.0.0.1:0");

/// A worker as its watcher sees it.
pub(crate) struct Watched {
    address: String,
    http: reqwest::Client,
}

impl Watched {
    pub(crate) async fn of(worker: &Process) -> Self {
        let address = wait::until("the worker to name its address", SOON, || async {
            worker.check_alive()?;
            let log = worker.output();
            let named = log.split_once("/readyz at http://").map(|(_, rest)| rest);
            Ok(named.map(|rest| rest.chars().take_while(|c| !matches!(c, '"' | '\n' | ' ')).collect()))
        });
        Self { address: address.await.unwrap(), http: export_stack::servers::versitygw::http().unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.http.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub(crate) async fn metrics(&self) -> String {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        text
    }

    /// Waits until the metrics have this line.
    pub(crate) async fn until_line(&self, line: &str) {
        wait::until(line, SOON, || async { Ok(has_line(&self.metrics().await, line).then_some(())) })
            .await
            .unwrap();
    }

    /// Waits until `/readyz` answers with this status and a sentence that has this part.
    pub(crate) async fn until_ready(&self, status: StatusCode, part: &str) {
        wait::until(&format!("{status} with `{part}`"), SOON, || async {
            let (now, sentence) = self.get("/readyz").await;
            assert_eq!(sentence.lines().count(), 1, "{sentence}");
            Ok((now == status && sentence.contains(part)).then_some(()))
        })
        .await
        .unwrap();
    }
}

pub(crate) fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}
