//! The public keys of a JWK set (RFC 7517) that can check a token. All others are left out.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;

/// The lengths of the modulus that `ring` takes: 2048 to 8192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// A public key, and for which algorithms it is.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) public: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// Reads a set. Returns the usable keys, and the number of all; `None` if it is no set.
pub(super) fn read(text: &[u8]) -> Option<(Vec<Key>, usize)> {
    let Set { keys } = serde_json::from_slice(text).ok()?;
    let all = keys.len();
    Some((keys.into_iter().filter_map(usable).collect(), all))
}

fn usable(key: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let common = &jwk.common;
    let is_for_signatures =
        common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
    let public = DecodingKey::from_jwk(&jwk).ok()?;
    let of_kind: &[Algorithm] = match (&jwk.algorithm, public.kind()) {
        (AlgorithmParameters::RSA(_), DecodingKeyKind::RsaModulusExponent { n, .. })
            if MODULUS.contains(&n.len()) =>
        {
            &[Algorithm::RS256, Algorithm::PS256]
        }
        (AlgorithmParameters::EllipticCurve(key), _) if key.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        (AlgorithmParameters::OctetKeyPair(key), _) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // A shared secret, which must not be here, and kinds that are not supported.
        _ => &[],
    };
    let is_named =
        |algorithm: &&Algorithm| common.key_algorithm.is_none_or(|only| only == (**algorithm).into());
    let algorithms: Vec<_> = of_kind.iter().filter(is_named).copied().collect();
    let id = common.key_id.clone()?;
    (is_for_signatures && !algorithms.is_empty()).then_some(Key { id, algorithms, public })
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    fn algorithms(key: Value) -> String {
        let (keys, all) = read(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
        assert_eq!(all, 1);
        keys.first().map_or("left out".to_owned(), |key| format!("{:?}", key.algorithms))
    }

    #[test]
    fn only_public_keys_for_signatures_of_the_four_algorithms_are_used() {
        let text = |bytes: usize| BASE64_URL_SAFE_NO_PAD.encode(vec![0x81; bytes]);
        let rsa = |bytes: usize| json!({"kid": "a", "kty": "RSA", "n": text(bytes), "e": "AQAB"});
        let curve = |name: &str| json!({"kid": "a", "kty": "EC", "crv": name, "x": text(32), "y": text(32)});
        let edwards = json!({"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": text(32)});
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        let keys = [
            ("RSA", rsa(256)),
            ("RSA for PS256", with(rsa(256), "alg", json!("PS256"))),
            ("P-256", curve("P-256")),
            ("Ed25519", edwards.clone()),
            ("for signatures", with(edwards.clone(), "use", json!("sig"))),
            ("to verify", with(edwards.clone(), "key_ops", json!(["verify"]))),
            ("RSA of 1024 bits", rsa(128)),
            ("RSA of 16384 bits", rsa(2048)),
            ("RSA for RS512", with(rsa(256), "alg", json!("RS512"))),
            ("RSA for ES256", with(rsa(256), "alg", json!("ES256"))),
            ("P-384", curve("P-384")),
            ("P-256K", curve("secp256k1")),
            ("a secret", json!({"kid": "a", "kty": "oct", "k": text(32)})),
            ("for encryption", with(edwards.clone(), "use", json!("enc"))),
            ("to sign only", with(edwards.clone(), "key_ops", json!(["sign"]))),
            ("without id", with(edwards, "kid", Value::Null)),
            ("half a key", json!({"kid": "a", "kty": "RSA", "n": text(256)})),
            ("no key", json!("x")),
        ];
        let told: String =
            keys.into_iter().map(|(what, key)| format!("{what}: {}\n", algorithms(key))).collect();
        insta::assert_snapshot!(told, @"
RSA: [RS256, PS256]
RSA for PS256: [PS256]
P-256: [ES256]
Ed25519: [EdDSA]
for signatures: [EdDSA]
to verify: [EdDSA]
RSA of 1024 bits: left out
RSA of 16384 bits: left out
RSA for RS512: left out
RSA for ES256: left out
P-384: left out
P-256K: left out
a secret: left out
for encryption: left out
to sign only: left out
without id: left out
half a key: left out
no key: left out
");
    }

    #[test]
    fn one_strange_key_does_not_hide_the_others_and_no_set_is_no_set() {
        let x = BASE64_URL_SAFE_NO_PAD.encode([1; 32]);
        let set = json!({"keys": [7, {"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": x}, {"kty": "new"}]});
        let (keys, all) = read(set.to_string().as_bytes()).unwrap();
        assert_eq!((keys.len(), all), (1, 3));
        for text in ["", "[]", "{}", "{\"keys\": 7}", "<html>"] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
