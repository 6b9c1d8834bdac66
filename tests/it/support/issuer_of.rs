//! A separate identity provider for a test: it serves keys, signs valid and invalid tokens, and can be unreachable or answer wrongly.

use std::{
    process::Command,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256,
    },
};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

/// What the tokens for the portal have in `aud`.
pub(crate) const AUDIENCE: &str = "https://exports.test";

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key of a provider.
pub(crate) struct Key {
    pub(crate) id: String,
    pair: Pair,
}

impl Key {
    pub(crate) fn rsa(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Rsa(RsaKeyPair::from_pkcs8(rsa_key()).unwrap()) }
    }

    pub(crate) fn ec(id: &str) -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self {
            id: id.to_owned(),
            pair: Pair::Ec(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap()),
        }
    }

    pub(crate) fn ed(id: &str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id: id.to_owned(), pair: Pair::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap()) }
    }

    /// Returns the public key, as a provider publishes it.
    pub(crate) fn public(&self) -> Value {
        let mut key = match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        };
        key["kid"] = json!(self.id);
        key["use"] = json!("sig");
        key
    }

    /// Signs in the way that an algorithm says; the key decides about the rest.
    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            // As an attacker would who hopes that the public key is taken for a shared secret.
            _ if algorithm == "HS256" => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, self.public().to_string().as_bytes());
                hmac::sign(&secret, message).as_ref().to_vec()
            }
            _ if algorithm == "none" => Vec::new(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                match algorithm {
                    "PS256" => pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature),
                    _ => pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature),
                }
                .unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }
}

/// Returns one RSA key for all tests: `ring` makes none, and Node.js, which the other provider runs on, does.
fn rsa_key() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let make = "const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
                    process.stdout.write(privateKey.export({ format: 'der', type: 'pkcs8' }));";
        let output = Command::new("node").args(["--eval", make]).output().expect("node is missing");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    })
}

/// How the provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Right,
    /// With status 500.
    Broken,
    /// With a redirect to the keys.
    Redirecting,
    /// With more than it may.
    Endless,
    /// With a page.
    Html,
    /// With the document of another issuer.
    Other,
    /// With a document that leads to keys without TLS.
    Plain,
    /// With no key.
    Empty,
    /// Never.
    Silent,
}

pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

struct Shared {
    url: String,
    keys: Mutex<Vec<Value>>,
    mood: Mutex<Mood>,
    /// How often the keys were asked for.
    asked: AtomicUsize,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Issuer {
    pub(crate) async fn new(keys: &[&Key]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            keys: Mutex::default(),
            mood: Mutex::new(Mood::Right),
            asked: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(serve_keys))
            .route("/elsewhere", get(async |State(shared): State<Arc<Shared>>| set(&shared)))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let issuer = Self { url, shared, serving: serving.abort_handle() };
        issuer.publish(keys);
        issuer
    }

    /// Publishes these keys in place of those before.
    pub(crate) fn publish(&self, keys: &[&Key]) {
        self.publish_all(keys.iter().map(|key| key.public()).collect());
    }

    pub(crate) fn publish_all(&self, keys: Vec<Value>) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// The settings of a portal that takes the tokens of this provider.
    pub(crate) fn settings(&self) -> Vec<(&'static str, &str)> {
        let mut settings = settings(&self.url).to_vec();
        settings.push(("EXPORT_PORTAL_ROLES", "manager=manager,admin=admin,operator=operator"));
        settings
    }

    /// Signs a token. Starts from the claims and headers of a valid token, and changes them as `claims` and `header` say; null removes one.
    pub(crate) fn token_with(&self, key: &Key, header: Value, claims: Value) -> String {
        let now = Utc::now().timestamp();
        let good = json!({"typ": "at+jwt", "alg": key.algorithm(), "kid": key.id});
        let header = changed(good, header);
        let good = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "7", "client_id": "app", "iat": now, "exp": now + 600,
            "jti": "1",
        });
        let claims = changed(good, claims);
        sign(key, &header, &claims.to_string())
    }

    pub(crate) fn token(&self, key: &Key, claims: Value) -> String {
        self.token_with(key, json!({}), claims)
    }
}

/// Signs claims, also such that no program writes.
pub(crate) fn sign(key: &Key, header: &Value, claims: &str) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims));
    let signature = key.sign(header["alg"].as_str().unwrap_or_default(), message.as_bytes());
    format!("{message}.{}", encode(signature))
}

/// The settings of a portal that takes the tokens of a provider.
pub(crate) fn settings(issuer: &str) -> [(&'static str, &str); 2] {
    [("EXPORT_PORTAL_ISSUER", issuer), ("EXPORT_PORTAL_AUDIENCE", AUDIENCE)]
}

fn changed(mut good: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap().clone() {
        let good = good.as_object_mut().unwrap();
        if value.is_null() {
            good.remove(&name)
        } else {
            good.insert(name, value)
        };
    }
    good
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    let mood = *shared.mood.lock().unwrap();
    let issuer = if mood == Mood::Other { "https://other.test" } else { &shared.url };
    let keys =
        if mood == Mood::Plain { "http://keys.test/keys".to_owned() } else { format!("{}/keys", shared.url) };
    axum::Json(json!({"issuer": issuer, "jwks_uri": keys})).into_response()
}

async fn serve_keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let mood = *shared.mood.lock().unwrap();
    match mood {
        Mood::Right | Mood::Other | Mood::Plain => set(&shared),
        Mood::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Redirecting => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
        Mood::Endless => (HeaderMap::new(), vec![b' '; 1 << 20]).into_response(),
        Mood::Html => "<html>".into_response(),
        Mood::Empty => axum::Json(json!({"keys": []})).into_response(),
        Mood::Silent => std::future::pending().await,
    }
}

fn set(shared: &Shared) -> Response {
    axum::Json(json!({"keys": *shared.keys.lock().unwrap()})).into_response()
}
