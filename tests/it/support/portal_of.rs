//! A portal of a test's own: the production binary, with the database role and the store key that it has in production.

use std::{collections::BTreeMap, fs, time::Instant};

use export_portal::caller::keys;
use export_stack::{servers, shared::stack, stack::Installation, supervisor::Process};
use export_workflows::contract::Outcome;
use futures::future::join_all;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::installation_of::{self, Given, attempt, installation};

/// The address under which people reach it. The process itself answers elsewhere, as behind a proxy.
pub(crate) const PUBLIC: &str = "https://exports.test";

pub(crate) struct Portal {
    pub(crate) given: Given,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) url: String,
    /// A service key of the backend `crm`.
    pub(crate) key: String,
    pub(crate) process: Process,
    pub(crate) http: reqwest::Client,
    /// Goes with the test.
    _keys: tempfile::TempDir,
}

impl Portal {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Starts a portal whose settings differ.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Box::pin(Self::on(installation().await, settings)).await
    }

    /// Starts a portal of an installation.
    pub(crate) async fn on(given: Given, settings: &[(&str, &str)]) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let file = keys.path().join("portal.keys");
        let (key, line) = keys::make("crm").unwrap();
        fs::write(&file, line).unwrap();
        let names = Installation {
            database: given.database.name().to_owned(),
            bucket: given.store.bucket.clone(),
            namespace: String::new(),
            task_queue: String::new(),
        };
        let servers = stack().await.unwrap().servers();
        let mut environment = servers.portal_environment(&names, &file).await.unwrap();
        environment.insert("EXPORT_PORTAL_URL".to_owned(), PUBLIC.to_owned());
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = start(&environment).await;
        let url = address(&process).await;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        Self { given, environment, url, key, process, http: http.build().unwrap(), _keys: keys }
    }

    /// A call without credentials.
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.call(Method::GET, path).bearer_auth(token)
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> RequestBuilder {
        self.call(Method::POST, path).bearer_auth(token).json(body)
    }

    pub(crate) fn delete(&self, path: &str, token: &str) -> RequestBuilder {
        self.call(Method::DELETE, path).bearer_auth(token)
    }

    pub(crate) fn withdraw(&self, id: Uuid, token: &str) -> RequestBuilder {
        self.post(&format!("/v1/exports/{id}/withdraw"), token, &json!({}))
    }

    /// Signs a person in. Returns the token.
    pub(crate) async fn session(&self, body: &Value) -> String {
        let answer = self.post("/v1/sessions", &self.key, body).send().await.unwrap();
        let (status, body) = read(answer).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }

    /// Signs a person in who has no role.
    pub(crate) async fn person(&self, user: impl ToString) -> String {
        self.session(&json!({"user_id": user.to_string()})).await
    }

    /// Asks for an export of the person who is signed in.
    pub(crate) async fn ask(&self, token: &str) -> Uuid {
        let (status, body) = read(self.post("/v1/exports", token, &json!({})).send().await.unwrap()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        body["id"].as_str().unwrap().parse().unwrap()
    }

    /// Makes a user, asks for their export in their name, and fulfils it. Returns the token and the export.
    pub(crate) async fn ready(&self) -> (String, Uuid) {
        let token = self.person(installation_of::user(&self.given.owner).await).await;
        let id = self.ask(&token).await;
        self.fulfil(id).await;
        (token, id)
    }

    pub(crate) async fn fulfil(&self, id: Uuid) {
        let served = installation_of::serve(&self.given.steps, &attempt(id, 1)).await;
        assert!(matches!(served, Ok(Outcome::Fulfilled { .. })), "{served:?}");
    }

    /// Runs SQL as the owner, for the state of one export.
    pub(crate) async fn edit(&self, id: Uuid, change: &str) {
        let sql = format!("update public.data_export_requests set {change} where id = $1");
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).execute(&self.given.owner).await.unwrap();
    }
}

pub(crate) async fn start(environment: &BTreeMap<String, String>) -> Process {
    let name = format!("portal-{}", Uuid::new_v4().simple());
    stack().await.unwrap().start_worker(&name, &["serve"], environment.clone()).unwrap().kill_on_drop()
}

/// Waits until it answers. Returns where.
pub(crate) async fn address(process: &Process) -> String {
    servers::portal::address(process).await.unwrap()
}

/// Makes calls that share one limit, all at once. Each is let in, which has this status, or slowed down. No more are let in
/// than the limit says: 120, and 20 a second, however fast the machine is.
pub(crate) async fn flood(calls: Vec<RequestBuilder>, let_in: u16) {
    let begun = Instant::now();
    let statuses: Vec<_> = join_all(calls.into_iter().map(RequestBuilder::send)).await;
    let statuses: Vec<_> = statuses.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect();
    assert!(statuses.iter().all(|status| [let_in, 429].contains(status)), "{statuses:?}");
    let count = statuses.iter().filter(|status| **status == let_in).count();
    let most = 120.0 + 20.0 * begun.elapsed().as_secs_f64();
    assert!((count as f64) <= most && count < statuses.len(), "{count}, not {most}");
}

/// Returns the status and the body of an answer: an object, or null when it is none.
pub(crate) async fn read(answer: Response) -> (StatusCode, Value) {
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Returns status and code of a problem, or of a success the status alone.
pub(crate) async fn code(answer: Response) -> String {
    let media = answer.headers().get("content-type").cloned();
    let (status, body) = read(answer).await;
    if status.is_success() || status.is_redirection() {
        return status.as_u16().to_string();
    }
    assert_eq!(media.unwrap(), "application/problem+json", "{status} {body}");
    assert_eq!(body["status"], status.as_u16(), "{body}");
    format!("{} {}", status.as_u16(), body["code"].as_str().unwrap())
}
