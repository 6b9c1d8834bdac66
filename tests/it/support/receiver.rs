//! A receiver of webhooks: a real HTTP server that stores each call, and answers as the test sets it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use export_stack::wait;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use super::night_of::SOON;

/// What signs in the tests.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A webhook as it came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }
}

/// An answer: a status, and a header.
pub(crate) type Answer = (StatusCode, Option<(header::HeaderName, &'static str)>);

#[derive(Default)]
struct Kept {
    got: Vec<Got>,
    answers: VecDeque<Answer>,
    holds: bool,
}

pub(crate) struct Receiver {
    pub(crate) port: u16,
    kept: Arc<Mutex<Kept>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub(crate) async fn new() -> Self {
        Self::on(0).await
    }

    /// Listens on a port, on which another one listened before.
    pub(crate) async fn on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::<Mutex<Kept>>::default();
        let app = Router::new().fallback(take).with_state(Arc::clone(&kept));
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, kept, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks", self.port)
    }

    /// Answers the next calls like this, and those after them with 204.
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.kept.lock().unwrap().answers = answers.into_iter().collect();
    }

    /// Takes calls from now on, and answers none; or answers again.
    pub(crate) fn hold(&self, holds: bool) {
        self.kept.lock().unwrap().holds = holds;
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.kept.lock().unwrap().got.clone()
    }

    pub(crate) async fn until_got(&self, count: usize) -> Vec<Got> {
        wait::until("webhooks", SOON, || async {
            let got = self.got();
            Ok((got.len() >= count).then_some(got))
        })
        .await
        .unwrap()
    }
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = {
        let mut kept = kept.lock().unwrap();
        kept.got.push(Got { headers, body });
        if kept.holds {
            None
        } else {
            Some(kept.answers.pop_front().unwrap_or((StatusCode::NO_CONTENT, None)))
        }
    };
    match answer {
        Some((status, Some(header))) => (status, [header]).into_response(),
        Some((status, None)) => status.into_response(),
        None => std::future::pending().await,
    }
}
