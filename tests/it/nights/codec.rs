//! Encrypted payloads: a whole night, of which Temporal knows no id and no count; keys that are replaced; the codec
//! server, as the Web UI and the Temporal CLI use it.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use export_stack::{servers::worker, shared::stack, supervisor::Process, wait};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    keys::Keys,
    night_of::{Nights, SOON, kill},
};

const TOKEN: &str = "a-token-of-twenty-characters";
const ORIGIN: &str = "http://temporal.test:8233";

const PROGRESS: [&str; 6] = ["workflow", "query", "--workflow-id", "rotated", "--type", "progress"];

/// Returns each payload of a history, as the server has it.
fn payloads(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.contains_key("metadata") && fields.contains_key("data") => {
            found.push(value.clone());
        }
        // Search attributes are there to be searched.
        Value::Object(fields) => {
            fields
                .iter()
                .filter(|(name, _)| *name != "searchAttributes")
                .for_each(|(_, field)| payloads(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| payloads(item, found)),
        _ => {}
    }
}

fn bytes(payload: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(payload["data"].as_str().unwrap()).unwrap()
}

async fn all_payloads(nights: &Nights) -> (Vec<Value>, String) {
    let (mut found, mut text) = (Vec::new(), String::new());
    for run in nights.runs("nightly_batch").await {
        let show = ["workflow", "show", "--workflow-id", &run.id, "--run-id", &run.run_id];
        let history = nights.temporal(&show).await;
        payloads(&history, &mut found);
        text += &history.to_string();
    }
    (found, text)
}

/// What tells of a request or of a count.
fn telling(payload: &Value, request: Uuid) -> bool {
    let text = String::from_utf8_lossy(&bytes(payload)).into_owned();
    [&request.to_string(), "fulfilled", "cutoff", "requested_at", "pending_at_start", "outcome"]
        .iter()
        .any(|word| text.contains(*word))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_with_a_key_leaves_nothing_to_be_read_and_every_command_reads_it() {
    let keys = Keys::new(&["one"]);
    let mut nights = Nights::new().await;
    let plain_worker = nights.worker(&[]).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    // Not by the schedule, which hands the result of the last night, however that was written, to the next.
    nights.start_night("plain", &json!({})).await;
    assert_eq!(nights.ended_of("plain").await, "COMPLETED");
    // The control: without a key there is much to be read.
    let (plain, _) = all_payloads(&nights).await;
    assert!(plain.iter().filter(|payload| telling(payload, request)).count() > 5);
    kill(&plain_worker).await;
    let before = nights.runs("nightly_batch").await.len();

    keys.set(&mut nights.environment);
    worker::command(&nights.environment, &["schedule", "apply"]).await.unwrap();
    let worker = nights.worker(&[]).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    let report = nights.night().await["result"].clone();
    assert_eq!((&report["fulfilled"], &report["night"].is_string()), (&json!(1), &true), "{report}");
    sqlx::raw_sql("alter table public.releases drop column notes").execute(&nights.owner).await.unwrap();
    let failed = format!("{:#}", nights.try_night().await.unwrap_err());
    assert!(failed.contains("releases.notes") || failed.contains("notes"), "a failure is read too: {failed}");

    let (mut found, mut text) = (Vec::new(), String::new());
    let runs = nights.runs("nightly_batch").await;
    for run in &runs[..runs.len() - before] {
        let show = ["workflow", "show", "--workflow-id", &run.id, "--run-id", &run.run_id];
        let history = nights.temporal(&show).await;
        payloads(&history, &mut found);
        text += &history.to_string();
    }
    assert!(found.len() > 10, "{}", found.len());
    for payload in &found {
        assert!(!telling(payload, request), "{payload}");
    }
    let encrypted = json!(BASE64_STANDARD.encode("binary/encrypted"));
    let open: Vec<_> = found.iter().filter(|payload| payload["metadata"]["encoding"] != encrypted).collect();
    assert!(open.is_empty(), "even the summaries of activities are encrypted: {open:?}");
    // Failures keep neither message nor trace outside of the encrypted part.
    assert!(text.contains("Encoded failure") && !text.contains("notes"), "{text}");
    assert!(worker.output().contains("Polling task queue"), "{}", worker.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_while_a_night_is_under_way() {
    let keys = Keys::new(&["old"]);
    let mut nights = Nights::new().await;
    keys.set(&mut nights.environment);
    let worker = nights.worker(&[]).await;
    for _ in 0..2 {
        nights.request(given::user(&nights.owner).await).await;
    }
    // A client without keys starts it with a plain payload, which passes through.
    nights.start_night("rotated", &json!({"steering": {"paused": {"by": "ada", "why": "a new key"}}})).await;
    wait::until("the pause", SOON, || async {
        // A query is answered once the first run has begun.
        Ok(nights.try_temporal(&PROGRESS).await.is_ok().then_some(()))
    })
    .await
    .unwrap();
    worker::command(&nights.environment, &["night", "window", "1"]).await.unwrap();
    kill(&worker).await;
    keys.write(&["new", "old"]);
    let _heir = nights.worker(&[]).await;
    worker::command(&nights.environment, &["night", "resume", "--by", "ada"]).await.unwrap();
    assert_eq!(nights.ended().await, "COMPLETED");

    let key = |payload: &Value| payload["metadata"]["encryption-key-id"].as_str().map(str::to_owned);
    let (found, _) = all_payloads(&nights).await;
    let ids: BTreeSet<_> = found.iter().filter_map(key).collect();
    let both = ["new", "old"].map(|id| BASE64_STANDARD.encode(id));
    assert_eq!(ids, both.into(), "both keys are in one night");

    // Its history replays with both keys, and says which one is missing.
    let file = keys.folder().join("night.json").display().to_string();
    let run = nights.runs("nightly_batch").await.last().unwrap().run_id.clone();
    worker::command(&nights.environment, &["history", "dump", "rotated", "--run-id", &run, "-o", &file])
        .await
        .unwrap();
    let replay = async || worker::command(&nights.environment, &["history", "replay", &file]).await;
    assert!(replay().await.unwrap().contains(": ok (nightly_batch"));
    keys.write(&["new"]);
    let error = replay().await.unwrap_err().to_string();
    assert!(error.contains("encrypted with key `old`") && error.contains("EXPORT_CODEC_KEY_FILE"), "{error}");
}

/// Starts the server. Returns its address.
async fn server(keys: &Keys) -> (Process, String) {
    let mut environment = BTreeMap::from([
        ("EXPORT_CODEC_ADDR".to_owned(), "127.0.0.1:0".to_owned()),
        ("EXPORT_CODEC_TOKEN".to_owned(), TOKEN.to_owned()),
        ("EXPORT_CODEC_ORIGINS".to_owned(), format!("{ORIGIN},https://other.test")),
        ("EXPORT_LOG_FORMAT".to_owned(), "human".to_owned()),
    ]);
    keys.set(&mut environment);
    let name = format!("codec-{}", Uuid::new_v4().simple());
    let process = stack().await.unwrap().start_worker(&name, &["codec-server"], environment).unwrap();
    let process = process.kill_on_drop();
    let address = wait::until("the codec server", SOON, || async {
        process.check_alive()?;
        let output = process.output();
        let said = output.split("Decoding payloads at ").nth(1).and_then(|rest| rest.lines().next());
        Ok(said.map(|address| address.trim().to_owned()))
    })
    .await
    .unwrap();
    (process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_codec_server_decodes_a_night_for_whoever_has_the_token() {
    let keys = Keys::new(&["one"]);
    let mut nights = Nights::new().await;
    keys.set(&mut nights.environment);
    let _worker = nights.worker(&[]).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.night().await;
    let (found, _) = all_payloads(&nights).await;
    let (_server, address) = server(&keys).await;
    let client = Client::new();
    let ask = async |path: &str, token: Option<&str>, payloads: &[Value]| {
        let body = json!({"payloads": payloads}).to_string();
        let mut call =
            client.post(format!("{address}{path}")).header("content-type", "application/json").body(body);
        if let Some(token) = token {
            call = call.header("authorization", format!("Bearer {token}"));
        }
        let answer = call.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let (status, text) = ask("/decode", Some(TOKEN), &found).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let decoded: Value = serde_json::from_str(&text).unwrap();
    let decoded = decoded["payloads"].as_array().unwrap();
    assert_eq!(decoded.len(), found.len());
    assert!(decoded.iter().filter(|payload| telling(payload, request)).count() > 5, "{text}");
    // The request of the Web UI, which has no token itself.
    let by_path = format!("/{TOKEN}/decode?preserveStorageRefs=true");
    assert_eq!(ask(&by_path, None, &found).await, (status, text));
    // And back.
    let (status, text) = ask("/encode", Some(TOKEN), decoded).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!text.contains(&BASE64_STANDARD.encode("json/plain")), "{text}");
    let encoded: Value = serde_json::from_str(&text).unwrap();
    let (_, again) = ask("/decode", Some(TOKEN), encoded["payloads"].as_array().unwrap()).await;
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["payloads"], json!(decoded));

    for (path, token) in [
        ("/decode", None),
        ("/decode", Some("another-token-of-this-length")),
        ("/decode", Some("")),
        ("/another-token-of-this-length/decode", None),
        ("/encode", None),
        ("/", None),
    ] {
        let (status, text) = ask(path, token, &found).await;
        assert!(
            [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND].contains(&status),
            "{path} {token:?}: {status} {text}"
        );
        assert!(!text.contains("payloads"), "{text}");
    }
    assert_eq!(ask("/decrypt", Some(TOKEN), &found).await.0, StatusCode::NOT_FOUND);
    let (status, text) = {
        let call =
            client.post(format!("{address}/decode")).header("authorization", format!("Bearer {TOKEN}"));
        let answer = call.body("payloads").send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert!(status == StatusCode::BAD_REQUEST && text.contains("{\"payloads\": [...]}"), "{text}");

    let (_other, other) = server(&Keys::new(&["two"])).await;
    let call = client.post(format!("{other}/decode")).header("authorization", format!("Bearer {TOKEN}"));
    let answer = call.body(json!({"payloads": found}).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("encrypted with key `one`, which is not in EXPORT_CODEC_KEY_FILE")
    );

    // The Temporal CLI reads the result by it.
    let id = nights.runs("nightly_batch").await[0].id.clone();
    let auth = format!("Bearer {TOKEN}");
    let result = ["workflow", "result", "--workflow-id", &id];
    let with = [result.as_slice(), &["--codec-endpoint", &address, "--codec-auth", &auth]].concat();
    assert_eq!(nights.temporal(&with).await["result"]["fulfilled"], 1);
    assert!(nights.temporal(&result).await["result"]["fulfilled"].is_null(), "the control: not without it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_ask_from_the_named_pages_only() {
    let (_server, address) = server(&Keys::new(&["one"])).await;
    let client = Client::new();
    let ask = async |origin: &str| {
        let answer = client
            .request(Method::OPTIONS, format!("{address}/decode"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-namespace,authorization")
            .send()
            .await
            .unwrap();
        let header =
            |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_lowercase());
        (header("access-control-allow-origin"), header("access-control-allow-headers"))
    };
    let (origin, headers) = ask(ORIGIN).await;
    assert_eq!(origin.as_deref(), Some(ORIGIN));
    assert!(
        ["content-type", "x-namespace", "authorization"]
            .iter()
            .all(|name| headers.as_ref().unwrap().contains(name))
    );
    assert_eq!(ask("https://other.test").await.0.as_deref(), Some("https://other.test"));
    assert_eq!(ask("https://evil.test").await.0, None);
}

#[tokio::test]
async fn a_codec_server_without_keys_a_token_or_an_address_is_refused_by_the_name_of_what_is_missing() {
    let keys = Keys::new(&["one"]);
    let whole = BTreeMap::from([
        ("EXPORT_CODEC_KEY_FILE", keys.path()),
        ("EXPORT_CODEC_ADDR", "127.0.0.1:0".to_owned()),
        ("EXPORT_CODEC_TOKEN", TOKEN.to_owned()),
    ]);
    for (name, value, said) in [
        ("EXPORT_CODEC_KEY_FILE", None, "EXPORT_CODEC_KEY_FILE is not set"),
        ("EXPORT_CODEC_ADDR", None, "EXPORT_CODEC_ADDR is not set"),
        ("EXPORT_CODEC_TOKEN", None, "EXPORT_CODEC_TOKEN is not set"),
        ("EXPORT_CODEC_TOKEN", Some("short"), "EXPORT_CODEC_TOKEN is no token"),
        ("EXPORT_CODEC_ADDR", Some("8234"), "EXPORT_CODEC_ADDR is `8234`"),
        ("EXPORT_CODEC_KEY_FILE", Some("/nowhere"), "EXPORT_CODEC_KEY_FILE `/nowhere`: it cannot be read"),
        ("EXPORT_CODEC_ORIGINS", Some("temporal.test/"), "EXPORT_CODEC_ORIGINS holds `temporal.test/`"),
    ] {
        let mut environment: BTreeMap<_, _> =
            whole.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        match value {
            Some(value) => environment.insert(name.to_owned(), value.to_owned()),
            None => environment.remove(name),
        };
        let error = worker::command(&environment, &["codec-server"]).await.unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("exit status: 2"), "{name}: {error}");
    }
}
