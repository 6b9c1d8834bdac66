//! Access tokens of the platform's identity provider: JWT as RFC 9068 profiles them, checked as RFC 8725 asks.
//!
//! Only the public keys that the provider publishes are believed. A key or an address in a token is never followed. No
//! token, and no part of one, is logged or repeated in an answer.

mod claims;
mod issuer;
mod jwks;
mod ring;

use std::{collections::HashSet, sync::Arc};

use jsonwebtoken::{Algorithm, TokenData, Validation, errors::ErrorKind};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::{
    claims::{Claims, RoleNames},
    issuer::{Fault, Fetched, fetch},
};
use self::{
    issuer::{Keys, Missing},
    jwks::Key,
};
use super::Caller;
use crate::problem::{Code, Problem};

/// The longest token. A proxy before the portal takes seldom more than 8 KiB of a header.
const LONGEST: usize = 8 * 1024;
/// How far the clocks of the provider and of this machine may differ, in seconds.
const LEEWAY: u64 = 30;
/// The algorithms. Those with a shared secret are not among them: the portal could then make tokens, too.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// The types of an access token (RFC 9068). An ID token has the type `JWT` or none.
const TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];

/// The identity provider, and how its tokens are read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, exactly as its tokens have it in `iss`.
    pub issuer: String,
    /// What its tokens for this portal have in `aud`.
    pub audience: String,
    /// Where its public keys are. None: its discovery document says where.
    pub jwks_url: Option<url::Url>,
    /// The claims that say who calls.
    pub claims: Claims,
}

/// Checks tokens.
pub(crate) struct Tokens {
    claims: Claims,
    expected: Validation,
    keys: Arc<Keys>,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooLong,
    NotSigned,
    Type,
    Critical,
    NoKeyId,
    UnknownKey,
    OtherAlgorithm,
    Signature,
    Malformed,
    NoIssuer,
    Issuer,
    NoAudience,
    Audience,
    NoExpiry,
    Expired,
    NotYet,
    NoSubject,
    Program,
    User,
    Org,
    Roles,
    Members,
    Actor,
}

impl Refusal {
    /// Returns the reason, as `WWW-Authenticate` and the problem have it: without quotes, so that it needs no escape.
    fn why(self) -> &'static str {
        match self {
            Self::TooLong => "the token has more than 8192 bytes",
            Self::NotSigned => "it is no JWT that is signed with RS256, PS256, ES256 or EdDSA",
            Self::Type => "its type is not at+jwt",
            Self::Critical => "it has critical headers",
            Self::NoKeyId => "it names no key",
            Self::UnknownKey => "it is signed with an unknown key",
            Self::OtherAlgorithm => "its key is for another algorithm",
            Self::Signature => "its signature is wrong",
            Self::Malformed => "its claims cannot be read",
            Self::NoIssuer => "it has no iss",
            Self::Issuer => "it is from another issuer",
            Self::NoAudience => "it has no aud",
            Self::Audience => "it is for another audience",
            Self::NoExpiry => "it has no exp that is a number",
            Self::Expired => "it has expired",
            Self::NotYet => "it is not valid yet",
            Self::NoSubject => "it has no sub that is a text",
            Self::Program => "it belongs to a program, not to a person",
            Self::User => "the claim of the user id is not an id",
            Self::Org => "the claim of the organisation is not an id",
            Self::Roles => "the claim of the roles is not a list of texts",
            Self::Members => "the claim of the members is not a list of at most 50 ids",
            Self::Actor => "its act names no actor",
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let why = refusal.why();
        let detail =
            format!("The access token is refused: {why}. Get another one from the identity provider.");
        Self::unauthenticated(&detail, Some(why))
    }
}

impl Tokens {
    pub(crate) fn new(settings: Settings) -> anyhow::Result<Self> {
        ring::install();
        // Of the one algorithm that the library needs to make it; each check sets the one of the key.
        let mut expected = Validation::new(Algorithm::EdDSA);
        expected.set_issuer(&[&settings.issuer]);
        expected.set_audience(&[&settings.audience]);
        expected.required_spec_claims = HashSet::from(["iss", "aud", "exp", "sub"].map(str::to_owned));
        expected.validate_nbf = true;
        expected.leeway = LEEWAY;
        let claims = settings.claims.clone();
        Ok(Self { claims, expected, keys: Arc::new(Keys::new(settings)?) })
    }

    /// Keeps the keys fresh until `stop`.
    pub(crate) fn watch(&self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.keys).watch(stop)
    }

    /// Returns whether there are keys to check a token with.
    pub(crate) fn is_ready(&self) -> bool {
        self.keys.are_known()
    }

    /// Returns the person of a token.
    pub(crate) async fn caller(&self, token: &str) -> Result<Caller, Problem> {
        let named = read_header(token)?;
        let key = self.keys.find(&named.key_id, named.algorithm).await.map_err(|missing| match missing {
            Missing::Refused(refusal) => refusal.into(),
            Missing::Away => Problem::new(
                Code::Unavailable,
                "The keys of the identity provider cannot be fetched at the moment. Nothing is lost: try again.",
            )
            .retry_after(Keys::APART.as_secs()),
        })?;
        let claims = self.check(token, &key, named.algorithm)?;
        Ok(self.claims.caller(&claims)?)
    }

    /// Checks the signature, the times, and for whom the token is. Returns its claims.
    fn check(&self, token: &str, key: &Key, algorithm: Algorithm) -> Result<Value, Refusal> {
        let expected = Validation { algorithms: vec![algorithm], ..self.expected.clone() };
        let TokenData { claims, .. } = jsonwebtoken::decode::<Value>(token, &key.public, &expected)
            .map_err(|error| refusal(error.kind()))?;
        // The library also takes a list that has the issuer; a token has one.
        if claims.get("iss").is_some_and(Value::is_string) { Ok(claims) } else { Err(Refusal::Issuer) }
    }
}

/// The parts of a header that choose the key.
struct Named {
    key_id: String,
    algorithm: Algorithm,
}

fn read_header(token: &str) -> Result<Named, Refusal> {
    if token.len() > LONGEST {
        return Err(Refusal::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::NotSigned)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Refusal::NotSigned);
    }
    // No extension is supported, so none that must be understood is.
    if header.crit.is_some() {
        return Err(Refusal::Critical);
    }
    let is_access_token =
        header.typ.is_some_and(|typ| TYPES.iter().any(|known| known.eq_ignore_ascii_case(&typ)));
    if !is_access_token {
        return Err(Refusal::Type);
    }
    let key_id = header.kid.ok_or(Refusal::NoKeyId)?;
    Ok(Named { key_id, algorithm: header.alg })
}

fn refusal(error: &ErrorKind) -> Refusal {
    match error {
        ErrorKind::InvalidSignature => Refusal::Signature,
        ErrorKind::ExpiredSignature => Refusal::Expired,
        ErrorKind::ImmatureSignature => Refusal::NotYet,
        ErrorKind::InvalidIssuer => Refusal::Issuer,
        ErrorKind::InvalidAudience => Refusal::Audience,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => Refusal::NoIssuer,
            "aud" => Refusal::NoAudience,
            "exp" => Refusal::NoExpiry,
            _ => Refusal::NoSubject,
        },
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => Refusal::OtherAlgorithm,
        _ => Refusal::Malformed,
    }
}
