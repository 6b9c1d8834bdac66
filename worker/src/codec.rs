//! Encrypts the payloads in Temporal's histories with AES-256-GCM, each one separately. The layout is that of the other
//! SDKs' samples, so one codec server can serve all workers of an organisation.
//!
//! The first key of the file encrypts, and every key decrypts. A payload not marked as encrypted passes through. Thus
//! encryption can be turned on, and a key replaced, while nights are running.

pub(crate) mod failures;
mod keys;
pub mod server;

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Context as _, Result, anyhow, bail};
use futures::{FutureExt as _, future::BoxFuture};
use prost::Message as _;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use temporalio_common::{
    data_converters::{
        DataConverter, PayloadCodec, PayloadConversionError, PayloadConverter, SerializationContextData,
    },
    protos::temporal::api::common::v1::Payload,
};

pub use self::keys::{Exposed, exposed};

/// Value of the metadata `encoding` of an encrypted payload.
const MARK: &[u8] = b"binary/encrypted";
const KEY_ID: &str = "encryption-key-id";

/// The keys, ready for use.
#[derive(Clone)]
pub struct Codec {
    keys: Arc<Vec<(String, LessSafeKey)>>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl Codec {
    /// Reads the keys of `EXPORT_CODEC_KEY_FILE`.
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).context("it cannot be read")?;
        Self::parse(&text)
    }

    /// Parses the text of such a file.
    pub fn parse(text: &str) -> Result<Self> {
        let mut keys = Vec::new();
        for (id, bytes) in keys::parse(text)? {
            let key = UnboundKey::new(&AES_256_GCM, &*bytes).map_err(|_| anyhow!("key `{id}` is no key"))?;
            keys.push((id, LessSafeKey::new(key)));
        }
        Ok(Self { keys: Arc::new(keys) })
    }

    /// Creates the converter for a client and its worker. It also encrypts the messages of failures.
    pub fn converter(self) -> DataConverter {
        DataConverter::new(PayloadConverter::default(), failures::Failures, self)
    }

    /// Encrypts with the first key.
    pub fn encrypt(&self, payload: &Payload) -> Result<Payload> {
        let (id, key) = self.keys.first().context("there is no key")?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow!("the system gives no random numbers"))?;
        let mut sealed = payload.encode_to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .map_err(|_| anyhow!("a payload cannot be encrypted"))?;
        Ok(Payload {
            metadata: HashMap::from([
                ("encoding".to_owned(), MARK.to_vec()),
                (KEY_ID.to_owned(), id.clone().into_bytes()),
            ]),
            data: [nonce.as_slice(), &sealed].concat(),
            ..Default::default()
        })
    }

    /// Decrypts a payload with our mark. Returns any other payload unchanged.
    pub fn decrypt(&self, payload: Payload) -> Result<Payload> {
        if payload.metadata.get("encoding").map(Vec::as_slice) != Some(MARK) {
            return Ok(payload);
        }
        let id = payload.metadata.get(KEY_ID).map(|id| String::from_utf8_lossy(id)).unwrap_or_default();
        let Some((_, key)) = self.keys.iter().find(|(known, _)| *known == id) else {
            bail!(
                "a payload is encrypted with key `{id}`, which is not in EXPORT_CODEC_KEY_FILE: add its line again"
            );
        };
        let broken = || {
            anyhow!(
                "a payload cannot be decrypted with key `{id}`: it was changed, or the key is another one"
            )
        };
        let (nonce, sealed) = payload.data.split_at_checked(NONCE_LEN).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut sealed = sealed.to_vec();
        let plain = key.open_in_place(nonce, Aad::empty(), &mut sealed).map_err(|_| broken())?;
        Payload::decode(&*plain).map_err(|_| broken())
    }
}

/// Warns in the log if everybody on this machine may read the keys.
pub fn warn_if_exposed(file: &Path) {
    if let Some(Exposed(mode)) = exposed(file) {
        tracing::warn!(
            file.mode = format!("{mode:o}"),
            "Every user of this machine may read the keys in `{}`: chmod 600 it, or 640 for the worker's group",
            file.display()
        );
    }
}

impl PayloadCodec for Codec {
    fn encode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let encoded = payloads.iter().map(|payload| self.encrypt(payload)).collect::<Result<Vec<_>>>();
        std::future::ready(encoded.map_err(refuse)).boxed()
    }

    fn decode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let decoded = payloads.into_iter().map(|payload| self.decrypt(payload)).collect::<Result<Vec<_>>>();
        std::future::ready(decoded.map_err(refuse)).boxed()
    }
}

fn refuse(error: anyhow::Error) -> PayloadConversionError {
    PayloadConversionError::EncodingError(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(lines: &[&str]) -> Codec {
        Codec::parse(&lines.join("\n")).unwrap()
    }

    fn line(id: &str, byte: u8) -> String {
        format!("{id} {}", hex::encode([byte; 32]))
    }

    fn payload() -> Payload {
        let metadata = HashMap::from([("encoding".to_owned(), b"json/plain".to_vec())]);
        Payload { metadata, data: br#"{"request_id": "0f0e9e3e"}"#.to_vec(), ..Default::default() }
    }

    #[test]
    fn a_payload_comes_back_as_it_was_and_is_not_to_be_read_in_between() {
        let codec = codec(&[&line("one", 1)]);
        let (first, second) = (codec.encrypt(&payload()).unwrap(), codec.encrypt(&payload()).unwrap());
        assert_ne!(first.data, second.data, "a nonce of its own each");
        assert!(!String::from_utf8_lossy(&first.data).contains("request_id"));
        assert_eq!(first.metadata[KEY_ID], b"one");
        assert_eq!(codec.decrypt(first).unwrap(), payload());
    }

    #[test]
    fn the_first_key_encrypts_and_those_behind_it_still_decrypt() {
        let before = codec(&[&line("old", 1)]).encrypt(&payload()).unwrap();
        let both = codec(&[&line("new", 2), &line("old", 1)]);
        assert_eq!(both.encrypt(&payload()).unwrap().metadata[KEY_ID], b"new");
        assert_eq!(both.decrypt(before.clone()).unwrap(), payload());
        let error = codec(&[&line("new", 2)]).decrypt(before.clone()).unwrap_err().to_string();
        assert!(error.contains("key `old`") && error.contains("EXPORT_CODEC_KEY_FILE"), "{error}");
        let error = codec(&[&line("old", 3)]).decrypt(before).unwrap_err().to_string();
        assert!(error.contains("cannot be decrypted with key `old`"), "{error}");
    }

    #[test]
    fn what_is_not_marked_passes_through_and_what_was_changed_is_refused() {
        let codec = codec(&[&line("one", 1)]);
        assert_eq!(codec.decrypt(payload()).unwrap(), payload());
        assert_eq!(codec.decrypt(Payload::default()).unwrap(), Payload::default());
        let sealed = codec.encrypt(&payload()).unwrap();
        for at in [0, NONCE_LEN, sealed.data.len() - 1] {
            let mut changed = sealed.clone();
            changed.data[at] ^= 1;
            assert!(codec.decrypt(changed).is_err(), "byte {at}");
        }
        for length in [0, NONCE_LEN - 1, NONCE_LEN, NONCE_LEN + 15] {
            let mut short = sealed.clone();
            short.data.truncate(length);
            assert!(codec.decrypt(short).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn nothing_that_is_printed_holds_a_key() {
        let text = format!("{:?}", codec(&[&line("one", 171)]));
        assert_eq!(text, r#"["one"]"#);
    }
}
