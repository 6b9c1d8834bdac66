//! Settings of the payload codec, and of the server that decodes for the Web UI.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::SecretString;

use super::{ConfigError, needed, origins, value::Reader, variable};
use crate::codec::Codec;

/// A shorter token could be guessed.
const TOKEN_CHARACTERS: usize = 20;

/// Everything under `EXPORT_CODEC_`.
#[derive(Clone, Debug)]
pub struct CodecSettings {
    /// `EXPORT_CODEC_KEY_FILE`
    pub key_file: Option<PathBuf>,
    /// `EXPORT_CODEC_ADDR`
    pub addr: Option<SocketAddr>,
    /// `EXPORT_CODEC_ORIGINS`
    pub origins: Vec<String>,
    token: Option<SecretString>,
}

impl CodecSettings {
    pub(super) fn read(env: &mut Reader<'_>) -> Self {
        Self {
            key_file: env.text(&variable::CODEC_KEY_FILE).map(PathBuf::from),
            addr: env.address(&variable::CODEC_ADDR),
            origins: origins(env, &variable::CODEC_ORIGINS),
            token: token(env),
        }
    }

    /// Reads the keys. Returns `None` if no file is set.
    pub fn codec(&self) -> Result<Option<Codec>, ConfigError> {
        let Some(file) = &self.key_file else { return Ok(None) };
        let codec = Codec::load(file).map_err(|error| ConfigError {
            problems: vec![format!("{} `{}`: {error:#}", variable::CODEC_KEY_FILE.name, file.display())],
        })?;
        Ok(Some(codec))
    }

    /// Returns the keys, for a command that requires them.
    pub fn needed_codec(&self) -> Result<Codec, ConfigError> {
        needed(self.codec()?, &variable::CODEC_KEY_FILE)
    }

    /// Returns the address, for a command that requires it.
    pub fn needed_addr(&self) -> Result<SocketAddr, ConfigError> {
        needed(self.addr, &variable::CODEC_ADDR)
    }

    /// Returns the token that callers of the codec server must send.
    pub fn token(&self) -> Result<&SecretString, ConfigError> {
        needed(self.token.as_ref(), &variable::CODEC_TOKEN)
    }
}

fn token(env: &mut Reader<'_>) -> Option<SecretString> {
    let text = env.text(&variable::CODEC_TOKEN)?;
    // The token may be part of a path or a header.
    let fits = text.len() >= TOKEN_CHARACTERS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~'));
    if !fits {
        env.problems.push(format!(
            "{} is no token: set at least {TOKEN_CHARACTERS} of a-z, A-Z, 0-9, `-`, `_`, `.` and `~`, as `openssl rand \
             -hex 24` makes them",
            variable::CODEC_TOKEN.name
        ));
    }
    Some(SecretString::from(text))
}
