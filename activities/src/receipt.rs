//! Receipts: signed statements of what was delivered to a person, and when.
//!
//! A receipt is a JWT (RFC 7519) that is signed with Ed25519 (RFC 8037). It is made by a worker when a request becomes
//! ready, and can be verified offline, against the public key alone. `kid` is the thumbprint of the key (RFC 7638).

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{scope::Scope, user_id::UserId};

/// The media type of a receipt, as its header has it. A signed text of another type is no receipt.
const TYPE: &str = "data-export-receipt+jwt";
const ALGORITHM: &str = "EdDSA";

/// A private key of Ed25519 in PKCS#8 (RFC 8410) is this, and then 32 random bytes.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The longest receipt that is read, in bytes. A receipt has about a thousand, and a hundred for each access.
pub const LONGEST: u64 = 4 << 20;

/// Names an installation in its receipts.
pub fn issuer(installation: Uuid) -> String {
    format!("urn:uuid:{installation}")
}

/// What a receipt states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The installation that delivered, as `urn:uuid:...`.
    pub iss: String,
    /// The person whose data it is.
    pub sub: UserId,
    /// The request.
    pub jti: Uuid,
    /// When this was stated, in seconds since 1970.
    pub iat: i64,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// In which role it was asked for.
    pub requested_as: String,
    /// Which part of the data was asked for; missing if it is the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// When the data was read.
    pub snapshot_at: DateTime<Utc>,
    /// When the archive was ready.
    pub ready_at: DateTime<Utc>,
    /// Until when it could be downloaded, unless it was taken back.
    pub expires_at: DateTime<Utc>,
    /// What was delivered.
    pub archive: ReceiptArchive,
    /// Rows by entity.
    pub rows: BTreeMap<String, u64>,
    /// Who got a link to it or downloaded it through the portal until `iat`; only where a person asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accesses: Option<Vec<ReceiptAccess>>,
}

/// The archive of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptArchive {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// A line of the log of accesses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptAccess {
    /// When.
    pub at: DateTime<Utc>,
    /// `linked`: got a link to the store; `delivered`: got the last byte.
    pub action: String,
    /// In which role.
    pub actor_as: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: String,
    #[serde(default)]
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

/// A key that signs receipts.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

// Not derived: a key is never printed.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.kid)
    }
}

impl SigningKey {
    /// Makes a key. Returns it as PEM, and its public half.
    pub fn generate() -> Result<(String, PublicKey)> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| anyhow!("the system has no random bytes"))?;
        let der = [PKCS8.as_slice(), &seed].concat();
        let public = Self::of_der(&der)?.public;
        let body = base64::prelude::BASE64_STANDARD.encode(der);
        Ok((format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"), public))
    }

    /// Reads a key from a PEM file with PKCS#8.
    pub fn load(file: &Path) -> Result<Self> {
        // The library's errors may quote the file.
        let der = PrivatePkcs8KeyDer::from_pem_file(file).map_err(|error| match error {
            rustls_pki_types::pem::Error::Io(error) => anyhow!("it cannot be read: {error}"),
            _ => anyhow!("it has no PEM block PRIVATE KEY (PKCS#8)"),
        })?;
        Self::of_der(der.secret_pkcs8_der())
    }

    fn of_der(der: &[u8]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| {
            anyhow!("its key is none of Ed25519: make one with `export-worker receipt key FILE`")
        })?;
        let public = PublicKey::new(pair.public_key().as_ref());
        Ok(Self { pair, public })
    }

    /// Returns the key that verifies.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a receipt: a JWS in its compact form.
    pub fn sign(&self, receipt: &Receipt) -> Result<String> {
        let header = Header {
            alg: ALGORITHM.to_owned(),
            typ: TYPE.to_owned(),
            kid: self.public.kid.clone(),
            crit: None,
        };
        let part = |json: Vec<u8>| BASE64_URL_SAFE_NO_PAD.encode(json);
        let mut text =
            format!("{}.{}", part(serde_json::to_vec(&header)?), part(serde_json::to_vec(receipt)?));
        let signature = self.pair.sign(text.as_bytes());
        text.push('.');
        text.push_str(&BASE64_URL_SAFE_NO_PAD.encode(signature));
        Ok(text)
    }
}

/// A key that verifies receipts: a JWK (RFC 7517, RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    kty: String,
    crv: String,
    x: String,
    /// Its thumbprint.
    #[serde(default)]
    pub kid: String,
}

impl PublicKey {
    fn new(bytes: &[u8]) -> Self {
        let x = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let kid = thumbprint(&x);
        Self { kty: "OKP".to_owned(), crv: "Ed25519".to_owned(), x, kid }
    }
}

/// Returns the thumbprint of RFC 7638: the digest of the members that make the key, in the order of their names.
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

/// The keys that a person trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// Reads a file with one JWK, or with several as a JWK Set. Keys of other kinds are left out.
    pub fn load(file: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let text = fs::read_to_string(file).context("it cannot be read")?;
        let keys = match serde_json::from_str::<Set>(&text) {
            Ok(set) => set.keys,
            Err(_) => vec![serde_json::from_str(&text).context("it is no JWK and no JWK Set")?],
        };
        Self::of(keys)
    }

    fn of(keys: Vec<serde_json::Value>) -> Result<Self> {
        let keys = keys.into_iter().filter_map(|key| serde_json::from_value::<PublicKey>(key).ok());
        let keys = keys.filter(|key| key.kty == "OKP" && key.crv == "Ed25519");
        // The thumbprint is computed, so that a key cannot have the name of another one.
        let keys: Vec<_> = keys.map(|key| PublicKey { kid: thumbprint(&key.x), ..key }).collect();
        ensure!(!keys.is_empty(), "it has no public key of Ed25519");
        Ok(Self(keys))
    }

    /// Verifies a receipt. Returns what it states, and the key that signed it.
    pub fn verify(&self, receipt: &str) -> Result<(Receipt, &PublicKey)> {
        let parts: Vec<_> = receipt.trim().split('.').collect();
        let [header, payload, signature] = parts[..] else {
            bail!("it is none: a receipt has three parts, separated by dots");
        };
        let read = |part: &str, name: &str| {
            BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| anyhow!("its {name} is not Base64 of URLs"))
        };
        let head: Header = serde_json::from_slice(&read(header, "header")?)
            .map_err(|_| anyhow!("its header cannot be read"))?;
        ensure!(head.alg == ALGORITHM, "it is not signed with Ed25519: its algorithm is {:?}", head.alg);
        ensure!(head.typ == TYPE, "it is a signed text of another type: {:?}", head.typ);
        ensure!(head.crit.is_none(), "it has critical headers, and no receipt has any");
        let key = self.0.iter().find(|key| key.kid == head.kid);
        let key = key.with_context(|| format!("it is signed by a key that is not given: {:?}", head.kid))?;
        let public = read(&key.x, "key")?;
        let signed = &receipt.trim().as_bytes()[..header.len() + 1 + payload.len()];
        UnparsedPublicKey::new(&ED25519, public)
            .verify(signed, &read(signature, "signature")?)
            .map_err(|_| anyhow!("its signature is wrong: it was changed, or signed by another key"))?;
        let stated = serde_json::from_slice(&read(payload, "content")?)
            .map_err(|error| anyhow!("what it states cannot be read: {error}"))?;
        Ok((stated, key))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key() -> SigningKey {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        fs::write(&file, SigningKey::generate().unwrap().0).unwrap();
        SigningKey::load(&file).unwrap()
    }

    fn receipt() -> Receipt {
        let at = "2026-11-27T01:00:00Z".parse().unwrap();
        Receipt {
            iss: "urn:uuid:0c7e4f1a-0000-4000-8000-000000000001".to_owned(),
            sub: "7".parse().unwrap(),
            jti: Uuid::from_u128(7),
            iat: 1_795_741_200,
            requested_at: at,
            requested_as: "owner".to_owned(),
            scope: None,
            snapshot_at: at,
            ready_at: at,
            expires_at: at,
            archive: ReceiptArchive { bytes: 1234, sha256: "ab".repeat(32) },
            rows: BTreeMap::from([("users".to_owned(), 1)]),
            accesses: None,
        }
    }

    fn keys(key: &SigningKey) -> PublicKeys {
        PublicKeys::of(vec![serde_json::to_value(key.public()).unwrap()]).unwrap()
    }

    fn base64(json: &Value) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
    }

    #[test]
    fn a_receipt_is_read_with_its_key_and_with_no_other() {
        let (one, other) = (key(), key());
        let signed = one.sign(&receipt()).unwrap();
        let keys_of_one = keys(&one);
        let (stated, by) = keys_of_one.verify(&format!("{signed}\n")).unwrap();
        assert_eq!((stated, by), (receipt(), one.public()));
        let both = PublicKeys([keys(&other).0, keys(&one).0].concat());
        assert_eq!(both.verify(&signed).unwrap().1, one.public());
        assert!(keys(&other).verify(&signed).unwrap_err().to_string().contains("a key that is not given"));
    }

    #[test]
    fn what_was_changed_or_is_no_receipt_is_refused() {
        let key = key();
        let signed = key.sign(&receipt()).unwrap();
        let [header, payload, signature] = signed.split('.').collect::<Vec<_>>()[..] else {
            panic!("{signed}")
        };
        let kid = &key.public().kid;
        let with = |alg: &str, typ: &str| base64(&json!({"alg": alg, "typ": typ, "kid": kid}));
        let mut richer = receipt();
        richer.archive.bytes += 1;
        let forged = base64(&serde_json::to_value(&richer).unwrap());
        // A MAC with the public key as its secret, as a careless verifier would take it.
        let mac = {
            let signed = format!("{}.{payload}", with("HS256", TYPE));
            let secret = BASE64_URL_SAFE_NO_PAD.decode(&key.public().x).unwrap();
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
            format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes())))
        };
        let sign = |header: String| {
            let text = format!("{header}.{payload}");
            let signature = BASE64_URL_SAFE_NO_PAD.encode(key.pair.sign(text.as_bytes()));
            format!("{text}.{signature}")
        };
        for (text, why) in [
            (String::new(), "three parts"),
            (format!("{header}.{payload}"), "three parts"),
            (format!("{signed}.{signature}"), "three parts"),
            (format!("{header}.{forged}.{signature}"), "its signature is wrong"),
            (format!("{header}.{payload}.{}", &signature[..signature.len() - 2]), "its signature is wrong"),
            (format!("{header}.{payload}."), "its signature is wrong"),
            (format!("{}.{payload}.", with("none", TYPE)), "not signed with Ed25519"),
            (mac, "not signed with Ed25519"),
            (sign(with(ALGORITHM, "at+jwt")), "of another type"),
            (sign(base64(&json!({"alg": ALGORITHM, "typ": TYPE, "kid": kid, "crit": ["exp"]}))), "critical"),
            (sign(base64(&json!({"alg": ALGORITHM, "typ": TYPE}))), "a key that is not given"),
            (format!("{header}.{payload}.!!"), "its signature is not Base64"),
            (format!("e30.{payload}.{signature}"), "its header cannot be read"),
        ] {
            let error = keys(&key).verify(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
        // The control: the same header, signed, is taken.
        keys(&key).verify(&sign(with(ALGORITHM, TYPE))).unwrap();
    }

    #[test]
    fn the_thumbprint_is_the_one_of_the_standard() {
        // RFC 8037, appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(thumbprint(x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_file_that_has_no_key_is_refused_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let rsa = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        for (text, why) in [("secret", "no PEM block"), (rsa, "none of Ed25519")] {
            fs::write(&file, text).unwrap();
            let error = format!("{:#}", SigningKey::load(&file).unwrap_err());
            assert!(error.contains(why) && !error.contains("secret") && !error.contains("c2Vj"), "{error}");
            assert!(PublicKeys::load(&file).is_err());
        }
        assert!(
            format!("{:#}", SigningKey::load(&folder.path().join("no")).unwrap_err())
                .contains("cannot be read")
        );
        fs::write(&file, r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#).unwrap();
        assert!(PublicKeys::load(&file).unwrap_err().to_string().contains("no public key of Ed25519"));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = key();
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public().kid));
    }
}
