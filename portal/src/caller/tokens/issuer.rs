//! The public keys of the identity provider: fetched beside the calls, kept while it is away, and fetched again for a key
//! that is new.
//!
//! One task fetches, however many calls wait, and never more often than every few seconds.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use export_activities::local::is_safe;
use jsonwebtoken::Algorithm;
use reqwest::{Client, StatusCode, redirect::Policy};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Refusal, Settings, jwks, jwks::Key};

/// How often keys are fetched.
const PACE: Pace = Pace { fresh: Duration::from_secs(5 * 60), apart: Keys::APART };
/// How long keys are used while the provider is away. Longer, and a removed key would count for as long as its owner keeps
/// the provider away.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Time limit of one fetch, with both its answers.
const WITHIN: Duration = Duration::from_secs(5);
/// The longest answer. The largest providers have about 20 KiB, of which most are certificates.
const LONGEST: usize = 256 * 1024;

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Why the keys could not be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server does not answer, or its certificate is not trusted.
    NoAnswer,
    /// It does not answer in time.
    TimedOut,
    /// It answers with this status. Redirects are not followed.
    Status(u16),
    /// Its answer is longer than the limit.
    TooLong,
    /// The discovery document cannot be read.
    NoDocument,
    /// The discovery document is of another issuer.
    OtherIssuer,
    /// The discovery document leads to an address without TLS.
    Plain,
    /// The keys cannot be read.
    NoSet,
    /// None of the keys is for the four algorithms.
    NoUsableKey,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("nothing answers there, or its certificate is not trusted"),
            Self::TimedOut => write!(f, "it does not answer within {} s", WITHIN.as_secs()),
            Self::Status(status) => write!(f, "it answers with status {status}"),
            Self::TooLong => write!(f, "its answer has more than {} KiB", LONGEST / 1024),
            Self::NoDocument => write!(f, "its answer at {DISCOVERY} names no issuer and no jwks_uri"),
            Self::OtherIssuer => f.write_str("its discovery document is of another issuer"),
            Self::Plain => f.write_str("its discovery document leads to keys without TLS"),
            Self::NoSet => f.write_str("its answer is no set of keys"),
            Self::NoUsableKey => {
                f.write_str("none of its keys has an id and is for RS256, PS256, ES256 or EdDSA")
            }
        }
    }
}

/// The keys of a provider, as [`fetch`] found them.
#[derive(Clone, Debug)]
pub struct Fetched {
    keys: Arc<[Key]>,
    /// The number of all its keys.
    pub all: usize,
}

impl Fetched {
    /// Returns the number of keys that can check a token.
    pub fn usable(&self) -> usize {
        self.keys.len()
    }
}

/// Fetches the keys once, for a person who examines the settings.
///
/// # Errors
/// When the client cannot be made, or when the keys cannot be fetched.
pub async fn fetch(settings: &Settings) -> anyhow::Result<Result<Fetched, Fault>> {
    Ok(Source::new(settings)?.fetch().await)
}

/// Where the keys are.
struct Source {
    issuer: String,
    jwks_url: Option<Url>,
    client: Client,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        // A redirect could lead to any host; the document says where the keys are.
        let client = Client::builder().redirect(Policy::none()).timeout(WITHIN).build();
        let client = client.context("failed to make the client for the identity provider")?;
        Ok(Self { issuer: settings.issuer.clone(), jwks_url: settings.jwks_url.clone(), client })
    }

    async fn fetch(&self) -> Result<Fetched, Fault> {
        tokio::time::timeout(WITHIN, self.read()).await.unwrap_or(Err(Fault::TimedOut))
    }

    async fn read(&self) -> Result<Fetched, Fault> {
        let jwks_url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let (keys, all) = jwks::read(&self.get(jwks_url).await?).ok_or(Fault::NoSet)?;
        if keys.is_empty() {
            return Err(Fault::NoUsableKey);
        }
        Ok(Fetched { keys: keys.into(), all })
    }

    async fn discover(&self) -> Result<Url, Fault> {
        let url = format!("{}{DISCOVERY}", self.issuer.trim_end_matches('/'));
        let text = self.get(Url::parse(&url).map_err(|_| Fault::NoDocument)?).await?;
        let Discovery { issuer, jwks_uri } = serde_json::from_slice(&text).map_err(|_| Fault::NoDocument)?;
        if issuer != self.issuer {
            return Err(Fault::OtherIssuer);
        }
        let jwks_url = Url::parse(&jwks_uri).map_err(|_| Fault::NoDocument)?;
        if is_safe(&jwks_url) { Ok(jwks_url) } else { Err(Fault::Plain) }
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, Fault> {
        let fault =
            |error: reqwest::Error| if error.is_timeout() { Fault::TimedOut } else { Fault::NoAnswer };
        let mut answer =
            self.client.get(url).header("accept", "application/json").send().await.map_err(fault)?;
        if answer.status() != StatusCode::OK {
            return Err(Fault::Status(answer.status().as_u16()));
        }
        let mut text = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(fault)? {
            if text.len() + part.len() > LONGEST {
                return Err(Fault::TooLong);
            }
            text.extend_from_slice(&part);
        }
        Ok(text)
    }
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How old the keys become: a key that the provider has removed is refused after this time.
    fresh: Duration,
    /// The shortest time between two fetches.
    apart: Duration,
}

/// The keys, and the task that fetches them.
pub(super) struct Keys {
    source: Source,
    pace: Pace,
    state: watch::Sender<State>,
    /// A call waits for a key that is not there.
    wanted: Notify,
}

#[derive(Clone, Default)]
struct State {
    fetched: Option<(Fetched, Instant)>,
    /// When the last fetch ended, whether or not it brought keys.
    tried: Option<Instant>,
    fault: Option<Fault>,
}

/// Why there is no key for a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Refused(Refusal),
    /// There are no keys at all: the provider is away.
    Away,
}

impl Keys {
    /// The shortest time between two fetches: a flood of unknown keys must not become a flood of the provider.
    pub(super) const APART: Duration = Duration::from_secs(5);

    pub(super) fn new(settings: Settings) -> anyhow::Result<Self> {
        let source = Source::new(&settings)?;
        Ok(Self { source, pace: PACE, state: watch::Sender::new(State::default()), wanted: Notify::new() })
    }

    pub(super) fn are_known(&self) -> bool {
        self.state.borrow().keys(Instant::now()).is_some()
    }

    /// Returns the key for a token. One that is not there is fetched, if the last fetch was not a moment ago.
    pub(super) async fn find(&self, id: &str, algorithm: Algorithm) -> Result<Key, Missing> {
        let mut state = self.state.subscribe();
        let is_due = {
            let state = state.borrow_and_update();
            let found = state.find(id, algorithm, Instant::now());
            if !matches!(found, Err(Missing::Away | Missing::Refused(Refusal::UnknownKey))) {
                return found;
            }
            state.tried.is_none_or(|tried| tried.elapsed() >= self.pace.apart)
        };
        if is_due {
            self.wanted.notify_one();
            // Longer than a fetch takes. It fails only when the portal stops.
            let _ = tokio::time::timeout(WITHIN + Duration::from_secs(1), state.changed()).await;
        }
        self.state.borrow().find(id, algorithm, Instant::now())
    }

    /// Fetches the keys: at once, when they are old, and when a call wants one that is not there.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let run = async {
            loop {
                let fetched = self.source.fetch().await;
                let is_known = self.publish(fetched);
                tokio::time::sleep(self.pace.apart).await;
                if is_known {
                    let rest = self.pace.fresh.saturating_sub(self.pace.apart);
                    let _ = tokio::time::timeout(rest, self.wanted.notified()).await;
                }
            }
        };
        stop.run_until_cancelled(run).await;
    }

    /// Lets the calls see the result of a fetch. Returns whether it brought keys.
    fn publish(&self, fetched: Result<Fetched, Fault>) -> bool {
        let (before, is_first) = {
            let state = self.state.borrow();
            (state.fault, state.fetched.is_none())
        };
        let fault = fetched.as_ref().err().copied();
        match &fetched {
            Ok(fetched) if is_first || before.is_some() => {
                tracing::info!("Fetched {} usable keys of the identity provider", fetched.usable());
            }
            Err(fault) if before != Some(*fault) => {
                tracing::warn!(
                    "The keys of the identity provider cannot be fetched: {fault}. Keys that are known go on working; `doctor` says what to do"
                );
            }
            _ => {}
        }
        self.state.send_modify(|state| {
            let now = Instant::now();
            state.tried = Some(now);
            state.fault = fault;
            if let Ok(fetched) = fetched {
                state.fetched = Some((fetched, now));
            }
        });
        fault.is_none()
    }
}

impl State {
    /// Returns the keys, unless they are too old.
    fn keys(&self, now: Instant) -> Option<&[Key]> {
        let (fetched, at) = self.fetched.as_ref()?;
        (now.saturating_duration_since(*at) < KEPT).then_some(&*fetched.keys)
    }

    fn find(&self, id: &str, algorithm: Algorithm, now: Instant) -> Result<Key, Missing> {
        let mut of_id = self.keys(now).ok_or(Missing::Away)?.iter().filter(|key| key.id == id).peekable();
        if of_id.peek().is_none() {
            return Err(Missing::Refused(Refusal::UnknownKey));
        }
        let key = of_id.find(|key| key.algorithms.contains(&algorithm));
        key.cloned().ok_or(Missing::Refused(Refusal::OtherAlgorithm))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::{Router, extract::State as Shared, routing::get};
    use jsonwebtoken::DecodingKey;
    use serde_json::json;

    use super::*;
    use crate::caller::tokens::Claims;

    #[test]
    fn keys_are_used_for_a_day_without_the_provider_and_no_longer() {
        let now = Instant::now();
        let key = Key {
            id: "a".to_owned(),
            algorithms: vec![Algorithm::EdDSA],
            public: DecodingKey::from_ed_der(&[1; 32]),
        };
        let fetched = Fetched { keys: [key].into(), all: 1 };
        let state = State { fetched: Some((fetched, now)), tried: Some(now), fault: Some(Fault::NoAnswer) };
        let find = |id, algorithm, after| state.find(id, algorithm, now + after).map(|key| key.id);
        assert_eq!(find("a", Algorithm::EdDSA, KEPT - Duration::from_secs(1)), Ok("a".to_owned()));
        assert_eq!(find("a", Algorithm::EdDSA, KEPT), Err(Missing::Away));
        assert_eq!(find("b", Algorithm::EdDSA, Duration::ZERO), Err(Missing::Refused(Refusal::UnknownKey)));
        let other = find("a", Algorithm::ES256, Duration::ZERO);
        assert_eq!(other, Err(Missing::Refused(Refusal::OtherAlgorithm)));
        assert_eq!(State::default().find("a", Algorithm::EdDSA, now).unwrap_err(), Missing::Away);
    }

    fn set_of(id: &str) -> String {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        json!({"keys": [{"kid": id, "kty": "OKP", "crv": "Ed25519", "x": x}]}).to_string()
    }

    #[tokio::test]
    async fn keys_are_fetched_again_in_time_without_any_call() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let served = Arc::new(Mutex::new(set_of("old")));
        let serve = get(async |Shared(set): Shared<Arc<Mutex<String>>>| set.lock().unwrap().clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route("/", serve).with_state(Arc::clone(&served));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let name = String::new;
        let claims = Claims {
            user: name(),
            org: name(),
            roles: name(),
            members: name(),
            role_names: "".parse().unwrap(),
        };
        let jwks_url = Some(Url::parse(&url).unwrap());
        let settings = Settings { issuer: name(), audience: name(), jwks_url, claims };
        let short = Pace { fresh: Duration::from_millis(20), apart: Duration::from_millis(10) };
        let keys = Arc::new(Keys { pace: short, ..Keys::new(settings).unwrap() });
        let stop = CancellationToken::new();
        let watching = tokio::spawn(Arc::clone(&keys).watch(stop.clone()));
        let mut state = keys.state.subscribe();
        let knows = |state: &State, id: &str| state.find(id, Algorithm::EdDSA, Instant::now()).is_ok();
        state.wait_for(|state| knows(state, "old")).await.unwrap();
        *served.lock().unwrap() = set_of("new");
        let changed = state.wait_for(|state| knows(state, "new")).await.unwrap().clone();
        assert!(!knows(&changed, "old"), "the provider has removed it");
        *served.lock().unwrap() = "<html>".to_owned();
        let changed = state.wait_for(|state| state.fault == Some(Fault::NoSet)).await.unwrap().clone();
        assert!(knows(&changed, "new"), "it is kept");
        stop.cancel();
        watching.await.unwrap();
    }
}
