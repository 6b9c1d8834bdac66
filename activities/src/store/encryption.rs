//! Server-side encryption: what the store is asked for, and whether an object has it.
//!
//! A store may ignore the request without a word. So the head of each archive must name the same encryption before a
//! request becomes ready.

use std::{fmt, str::FromStr};

use aws_sdk_s3::{
    operation::{
        create_multipart_upload::builders::CreateMultipartUploadFluentBuilder, head_object::HeadObjectOutput,
        put_object::builders::PutObjectFluentBuilder,
    },
    types::ServerSideEncryption,
};

/// How the store encrypts archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// With a key of the store (SSE-S3).
    Aes256,
    /// With a key of the key service (SSE-KMS): this one, or the default of the bucket.
    Kms(Option<String>),
}

impl FromStr for Encryption {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_prefix("aws:kms") {
            None if text == "AES256" => Ok(Self::Aes256),
            Some("") => Ok(Self::Kms(None)),
            // The store answers with the key and not with its alias, so an alias could not be compared.
            Some(key) if key.starts_with(':') && key.len() > 1 && !key.contains("alias/") => {
                Ok(Self::Kms(Some(key[1..].to_owned())))
            }
            _ => Err(()),
        }
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aes256 => f.write_str("AES256"),
            Self::Kms(None) => f.write_str("aws:kms"),
            Self::Kms(Some(key)) => write!(f, "aws:kms with key {key}"),
        }
    }
}

impl Encryption {
    fn algorithm(&self) -> ServerSideEncryption {
        match self {
            Self::Aes256 => ServerSideEncryption::Aes256,
            Self::Kms(_) => ServerSideEncryption::AwsKms,
        }
    }

    fn key(&self) -> Option<String> {
        match self {
            Self::Kms(Some(key)) => Some(key.clone()),
            _ => None,
        }
    }

    /// Asks for it with a put.
    pub(crate) fn of_put(&self, call: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        call.server_side_encryption(self.algorithm()).set_ssekms_key_id(self.key())
    }

    /// Asks for it with the first call of an upload in parts.
    pub(crate) fn of_create(
        &self,
        call: CreateMultipartUploadFluentBuilder,
    ) -> CreateMultipartUploadFluentBuilder {
        call.server_side_encryption(self.algorithm()).set_ssekms_key_id(self.key())
    }

    /// Returns whether an object has it. A key is named by its id or its ARN, whose end is the id.
    pub(crate) fn is_that_of(&self, stored: Option<&StoredEncryption>) -> bool {
        let Some(stored) = stored else { return false };
        if stored.algorithm != self.algorithm().as_str() {
            return false;
        }
        let Some(wanted) = self.key() else { return true };
        stored.key.as_ref().is_some_and(|key| {
            let ends =
                |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('/'));
            *key == wanted || ends(key, &wanted) || ends(&wanted, key)
        })
    }
}

/// The encryption that the store names with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEncryption {
    algorithm: String,
    key: Option<String>,
}

impl StoredEncryption {
    pub(super) fn read(output: &HeadObjectOutput) -> Option<Self> {
        Some(Self {
            algorithm: output.server_side_encryption()?.as_str().to_owned(),
            key: output.ssekms_key_id().map(str::to_owned),
        })
    }
}

impl fmt::Display for StoredEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            None => f.write_str(&self.algorithm),
            Some(key) => write!(f, "{} with key {key}", self.algorithm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(algorithm: &str, key: Option<&str>) -> StoredEncryption {
        StoredEncryption { algorithm: algorithm.to_owned(), key: key.map(str::to_owned) }
    }

    #[test]
    fn a_setting_is_one_of_three_forms() {
        for (text, wanted) in [
            ("AES256", Some(Encryption::Aes256)),
            ("aws:kms", Some(Encryption::Kms(None))),
            ("aws:kms:1234abcd", Some(Encryption::Kms(Some("1234abcd".to_owned())))),
            (
                "aws:kms:arn:aws:kms:eu-1:7:key/1234abcd",
                Some(Encryption::Kms(Some("arn:aws:kms:eu-1:7:key/1234abcd".to_owned()))),
            ),
            ("aws:kms:", None),
            ("aws:kms:alias/exports", None),
            ("aws:kms:arn:aws:kms:eu-1:7:alias/exports", None),
            ("aws:kmsx", None),
            ("aws:kms:dsse", Some(Encryption::Kms(Some("dsse".to_owned())))),
            ("aes256", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), wanted, "{text}");
        }
    }

    #[test]
    fn an_object_has_the_algorithm_and_the_key_that_were_asked_for() {
        let arn = "arn:aws:kms:eu-1:7:key/1234abcd";
        let kms = |key: &str| Encryption::Kms(Some(key.to_owned()));
        for (wanted, stored, has) in [
            (Encryption::Aes256, Some(stored("AES256", None)), true),
            (Encryption::Aes256, None, false),
            (Encryption::Aes256, Some(stored("aws:kms", Some(arn))), false),
            (Encryption::Kms(None), Some(stored("aws:kms", Some(arn))), true),
            (Encryption::Kms(None), Some(stored("AES256", None)), false),
            (kms("1234abcd"), Some(stored("aws:kms", Some(arn))), true),
            (kms(arn), Some(stored("aws:kms", Some(arn))), true),
            (kms(arn), Some(stored("aws:kms", Some("1234abcd"))), true),
            (kms("abcd"), Some(stored("aws:kms", Some(arn))), false),
            (kms("another"), Some(stored("aws:kms", Some(arn))), false),
            (kms("1234abcd"), Some(stored("aws:kms", None)), false),
        ] {
            assert_eq!(wanted.is_that_of(stored.as_ref()), has, "{wanted} {stored:?}");
        }
    }
}
