//! An S3 store inside the test that fails on purpose, at the n-th call of a named operation.
//!
//! The store itself is `s3s-fs` on a folder, with the missing parts that an upload needs. The faults are outside of it,
//! at HTTP, as in a real store: an answer is replaced, delayed, or lost after the work was done.

mod backend;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use export_activities::store::Checksum;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::HeaderValue, service::service_fn,
};
use hyper_util::rt::TokioIo;
use s3s::{
    Body,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};

use self::backend::Backend;
pub use self::backend::{Encrypts, Unknown};
use crate::wait;

/// The access key id that the store accepts.
pub const ACCESS_KEY_ID: &str = "faulty-store";
/// Its secret.
pub const SECRET_ACCESS_KEY: &str = "faulty-store-secret";

/// The fault of a call, instead of its work or in addition.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers 500 `InternalError` without doing anything.
    InternalError,
    /// Answers 503 `SlowDown` without doing anything.
    SlowDown,
    /// Answers 403 `AccessDenied` without doing anything.
    AccessDenied,
    /// Reads the request and never answers, without doing anything.
    Hang,
    /// Cuts the connection without doing anything.
    Refuse,
    /// Does the work, then cuts the connection instead of answering.
    LoseAnswer,
    /// Does the work after [`FaultyStore::release`].
    Hold,
    /// Does the work after this time.
    Delay(Duration),
    /// Does the work and answers with this header replaced.
    Header(&'static str, String),
}

/// The faulty store; it stops when it is dropped.
pub struct FaultyStore {
    endpoint: String,
    shared: Arc<Shared>,
    accept: AbortHandle,
}

struct Shared {
    service: S3Service,
    backend: Backend,
    script: Mutex<Script>,
    in_flight: watch::Sender<HashMap<&'static str, usize>>,
    released: watch::Sender<bool>,
}

#[derive(Default)]
struct Script {
    rules: Vec<Rule>,
    calls: HashMap<&'static str, usize>,
    peaks: HashMap<&'static str, usize>,
    /// Faults of one object, by the part of its path that names it.
    hits: HashMap<String, usize>,
}

struct Rule {
    operation: &'static str,
    /// Part of the path of the affected objects; empty for all.
    path: String,
    first: usize,
    last: usize,
    fault: Fault,
}

impl FaultyStore {
    /// Starts the store on a free port of 127.0.0.1, with its objects in `folder` and one empty bucket.
    pub async fn start(folder: &Path, bucket: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join(bucket)).context("failed to create the bucket's folder")?;
        let backend = Backend::new(folder)?;
        let mut builder = S3ServiceBuilder::new(backend.clone());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to bind the faulty store")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            service: builder.build(),
            backend,
            script: Mutex::default(),
            in_flight: watch::Sender::new(HashMap::new()),
            released: watch::Sender::new(false),
        });
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { endpoint, shared, accept })
    }

    /// Returns the address for `EXPORT_S3_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes the `nth` call of `operation` from now on fail. The next call is 1.
    pub fn fail(&self, operation: &'static str, nth: usize, fault: Fault) {
        self.rule(operation, "", nth, nth, fault);
    }

    /// Makes every call of `operation` from now on fail.
    pub fn fail_all(&self, operation: &'static str, fault: Fault) {
        self.rule(operation, "", 1, usize::MAX, fault);
    }

    /// Makes every call of `operation` on an object with `path` in its path fail from now on.
    pub fn fail_object(&self, operation: &'static str, path: &str, fault: Fault) {
        self.rule(operation, path, 1, usize::MAX, fault);
    }

    /// Returns the number of calls that met a fault of [`fail_object`](Self::fail_object) with this `path`.
    pub fn hits(&self, path: &str) -> usize {
        self.shared.script().hits.get(path).copied().unwrap_or_default()
    }

    fn rule(&self, operation: &'static str, path: &str, first: usize, last: usize, fault: Fault) {
        let mut script = self.shared.script();
        let before = script.calls.get(operation).copied().unwrap_or_default();
        let (first, last) = (before + first, last.saturating_add(before));
        let rule = Rule { operation, path: path.to_owned(), first, last, fault };
        script.rules.push(rule);
    }

    /// Removes the support of a checksum from now on, also for existing objects.
    pub fn forget(&self, checksum: Checksum, unknown: Unknown) {
        self.shared.backend.forget(checksum, unknown);
    }

    /// Changes how the encryption that an upload asks for is treated, from now on.
    pub fn encrypt(&self, how: Encrypts) {
        self.shared.backend.encrypt(how);
    }

    /// Removes all faults. Calls that already hang continue to hang.
    pub fn heal(&self) {
        self.shared.script().rules.clear();
    }

    /// Lets all held and later calls do their work.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Returns the number of calls of `operation`, with every retry of the client.
    pub fn calls(&self, operation: &str) -> usize {
        self.shared.script().calls.get(operation).copied().unwrap_or_default()
    }

    /// Returns the maximum number of calls of `operation` that were in flight together.
    pub fn peak(&self, operation: &str) -> usize {
        self.shared.script().peaks.get(operation).copied().unwrap_or_default()
    }

    /// Waits until the given number of calls of `operation` are in flight together.
    pub async fn wait_in_flight(&self, operation: &'static str, calls: usize) -> anyhow::Result<()> {
        let mut in_flight = self.shared.in_flight.subscribe();
        let enough = in_flight.wait_for(|now| now.get(operation).copied().unwrap_or_default() >= calls);
        let what = format!("{calls} calls of {operation} in flight");
        wait::within(&what, Duration::from_secs(30), enough)
            .await?
            .context("the faulty store has stopped")?;
        Ok(())
    }

    /// Returns the keys of the multipart uploads that are neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        self.shared.backend.unfinished_uploads()
    }
}

impl Drop for FaultyStore {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(serve(socket, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
    // A cut connection is an error here, but the test asked for it.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
    let operation =
        operation(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
    // Choose the fault before the call is visible in flight, because a test may then send the next call.
    let fault = shared.script().next(operation, request.uri().path());
    let _flight = Flight::begin(&shared, operation);
    match fault {
        None => shared.work(request).await,
        Some(Fault::InternalError) => {
            refusal(request, StatusCode::INTERNAL_SERVER_ERROR, "InternalError").await
        }
        Some(Fault::AccessDenied) => refusal(request, StatusCode::FORBIDDEN, "AccessDenied").await,
        Some(Fault::SlowDown) => refusal(request, StatusCode::SERVICE_UNAVAILABLE, "SlowDown").await,
        Some(Fault::Hang) => {
            drain(request).await?;
            std::future::pending().await
        }
        Some(Fault::Refuse) => anyhow::bail!("{operation} is refused"),
        Some(Fault::LoseAnswer) => {
            shared.work(request).await?;
            anyhow::bail!("the answer to {operation} is lost")
        }
        Some(Fault::Hold) => {
            shared.released.subscribe().wait_for(|released| *released).await?;
            shared.work(request).await
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            shared.work(request).await
        }
        Some(Fault::Header(name, value)) => {
            let mut response = shared.work(request).await?;
            response.headers_mut().insert(name, HeaderValue::from_str(&value)?);
            Ok(response)
        }
    }
}

/// Reads the body before it refuses. A client that is still sending would see a cut, not the answer.
async fn refusal(
    request: Request<Incoming>,
    status: StatusCode,
    code: &str,
) -> anyhow::Result<Response<Body>> {
    drain(request).await?;
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>");
    Ok(Response::builder().status(status).header("content-type", "application/xml").body(Body::from(body))?)
}

async fn drain(request: Request<Incoming>) -> anyhow::Result<()> {
    let mut body: Body = request.into_body().into();
    let _: Bytes = body.store_all_limited(usize::MAX).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(())
}

/// Names the call as S3 does.
fn operation(method: &Method, path: &str, query: &str) -> &'static str {
    let has = |name: &str| query.split('&').any(|pair| pair == name || pair.starts_with(&format!("{name}=")));
    let on_object = path.trim_matches('/').contains('/');
    match (method.as_str(), on_object) {
        ("PUT", true) if has("partNumber") => "UploadPart",
        ("PUT", true) => "PutObject",
        ("POST", true) if has("uploads") => "CreateMultipartUpload",
        ("POST", true) if has("uploadId") => "CompleteMultipartUpload",
        ("DELETE", true) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", true) => "DeleteObject",
        ("GET", true) => "GetObject",
        ("HEAD", true) => "HeadObject",
        ("GET", false) if has("uploads") => "ListMultipartUploads",
        ("GET", false) => "ListObjectsV2",
        ("HEAD", false) => "HeadBucket",
        _ => "Other",
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(&self, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
        let answer = self.service.call(request.map(Body::from)).await;
        answer.map_err(|error| anyhow::anyhow!("s3s failed: {error:?}"))
    }
}

impl Script {
    /// Counts the call and returns its fault. The newest rule wins.
    fn next(&mut self, operation: &'static str, path: &str) -> Option<Fault> {
        let calls = self.calls.entry(operation).or_default();
        *calls += 1;
        let nth = *calls;
        let applies = |rule: &&Rule| {
            rule.operation == operation
                && (rule.first..=rule.last).contains(&nth)
                && path.contains(rule.path.as_str())
        };
        let rule = self.rules.iter().rev().find(applies)?;
        if !rule.path.is_empty() {
            *self.hits.entry(rule.path.clone()).or_default() += 1;
        }
        Some(rule.fault.clone())
    }
}

/// One call in flight. It also ends when the client cuts the connection.
struct Flight<'a> {
    shared: &'a Shared,
    operation: &'static str,
}

impl<'a> Flight<'a> {
    fn begin(shared: &'a Shared, operation: &'static str) -> Self {
        let mut now = 0;
        shared.in_flight.send_modify(|in_flight| {
            let calls = in_flight.entry(operation).or_default();
            *calls += 1;
            now = *calls;
        });
        let mut script = shared.script();
        let peak = script.peaks.entry(operation).or_default();
        *peak = now.max(*peak);
        Self { shared, operation }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.shared.in_flight.send_modify(|in_flight| {
            if let Some(calls) = in_flight.get_mut(self.operation) {
                *calls -= 1;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_as_s3_names_them() {
        let name = |method: Method, uri: &str| {
            let uri: hyper::Uri = uri.parse().unwrap();
            operation(&method, uri.path(), uri.query().unwrap_or_default())
        };
        assert_eq!(name(Method::PUT, "/bucket/exports/a/b.zip?x-id=PutObject"), "PutObject");
        assert_eq!(name(Method::PUT, "/bucket/a?partNumber=1&uploadId=u"), "UploadPart");
        assert_eq!(name(Method::POST, "/bucket/a?uploads"), "CreateMultipartUpload");
        assert_eq!(name(Method::POST, "/bucket/a?uploads="), "CreateMultipartUpload");
        assert_eq!(name(Method::POST, "/bucket/a?uploadId=u"), "CompleteMultipartUpload");
        assert_eq!(name(Method::DELETE, "/bucket/a?uploadId=u"), "AbortMultipartUpload");
        assert_eq!(name(Method::DELETE, "/bucket/a"), "DeleteObject");
        assert_eq!(name(Method::HEAD, "/bucket/a"), "HeadObject");
        assert_eq!(name(Method::GET, "/bucket?list-type=2"), "ListObjectsV2");
        assert_eq!(name(Method::GET, "/bucket/?uploads"), "ListMultipartUploads");
    }

    #[test]
    fn a_fault_hits_exactly_its_call() {
        let mut script = Script::default();
        let rule =
            |first, last, fault| Rule { operation: "PutObject", path: String::new(), first, last, fault };
        script.rules.push(rule(2, 2, Fault::SlowDown));
        script.rules.push(rule(4, usize::MAX, Fault::Hang));
        assert!(script.next("PutObject", "/bucket/a").is_none());
        assert!(script.next("HeadObject", "/bucket/a").is_none());
        assert!(matches!(script.next("PutObject", "/bucket/a"), Some(Fault::SlowDown)));
        assert!(script.next("PutObject", "/bucket/a").is_none());
        assert!(matches!(script.next("PutObject", "/bucket/a"), Some(Fault::Hang)));
        assert!(matches!(script.next("PutObject", "/bucket/a"), Some(Fault::Hang)));
    }

    #[test]
    fn a_fault_of_one_object_hits_no_other() {
        let mut script = Script::default();
        let path = "poison".to_owned();
        script.rules.push(Rule {
            operation: "PutObject",
            path,
            first: 1,
            last: usize::MAX,
            fault: Fault::Hang,
        });
        assert!(script.next("PutObject", "/bucket/exports/other.zip").is_none());
        assert_eq!(script.hits.get("poison"), None);
        assert!(matches!(script.next("PutObject", "/bucket/exports/poison.zip"), Some(Fault::Hang)));
        assert_eq!(script.hits["poison"], 1);
        assert!(script.next("GetObject", "/bucket/exports/poison.zip").is_none());
    }
}
