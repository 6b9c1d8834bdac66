//! The keys of the platform's backends: a file with a line `<name> <SHA-256 of the key>` each, so that it holds no secret.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::digest;

/// Every key begins like this, so that it is recognised where it must not be.
pub const PREFIX: &str = "exk_";

/// Maximum length of a name.
const LONGEST_NAME: usize = 64;

/// The known keys.
#[derive(Clone, Debug, Default)]
pub struct ServiceKeys(HashMap<[u8; 32], String>);

impl ServiceKeys {
    /// Reads a file of keys. Several keys may have the same name, as while one is replaced.
    ///
    /// # Errors
    /// When the file cannot be read, has no key, or a line is not a name and a digest.
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        Self::parse(&text).with_context(|| format!("`{}` cannot be used", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut keys = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts: Vec<_> = line.split_whitespace().collect();
            let [name, hash] = parts[..] else {
                bail!(
                    "line {number} is not a name and the SHA-256 of a key, as `export-worker portal key NAME` prints it"
                );
            };
            let is_name = name.len() <= LONGEST_NAME
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            if !is_name {
                bail!(
                    "the name in line {number} is not at most {LONGEST_NAME} of a-z, A-Z, 0-9, `-`, `_` and `.`"
                );
            }
            // The line may hold the key itself by mistake, so no error repeats it.
            let hash = hex::decode(hash).ok().and_then(|hash| <[u8; 32]>::try_from(hash).ok());
            let hash =
                hash.with_context(|| format!("line {number} has no SHA-256 of 64 hexadecimal digits"))?;
            if keys.insert(hash, name.to_owned()).is_some() {
                bail!("line {number} repeats the key of another line");
            }
        }
        if keys.is_empty() {
            bail!("it holds no key: add the line that `export-worker portal key NAME` prints");
        }
        Ok(Self(keys))
    }

    /// Returns whether there is no key, as where callers have only access tokens.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the name of a key.
    pub(crate) fn name_of(&self, key: &str) -> Option<&str> {
        self.0.get(&digest(key)).map(String::as_str)
    }
}

/// Makes a key. Returns it, and its line for the file.
///
/// # Errors
/// When the system has no randomness.
pub fn make(name: &str) -> Result<(String, String)> {
    let key = format!("{PREFIX}{}", random()?);
    let line = format!("{name} {}", hex::encode(digest(&key)));
    ServiceKeys::parse(&line)?;
    Ok((key, line))
}

/// Returns 256 random bits as text.
pub(crate) fn random() -> Result<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok().context("the system gives no random numbers")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_made_is_known_by_its_line_and_another_is_not() {
        let (key, line) = make("crm").unwrap();
        let (other, second) = make("crm").unwrap();
        let keys = ServiceKeys::parse(&format!("# two while one is replaced\n{line}\n\n{second}\n")).unwrap();
        assert_eq!((keys.name_of(&key), keys.name_of(&other)), (Some("crm"), Some("crm")));
        assert_eq!(keys.name_of(&format!("{key}x")), None);
        assert!(!line.contains(&key), "the file must hold no secret");
    }

    #[test]
    fn a_wrong_file_is_refused_by_its_line_and_never_repeated() {
        let (key, line) = make("crm").unwrap();
        for (text, part) in [
            (String::new(), "holds no key"),
            ("# nothing\n".to_owned(), "holds no key"),
            (key.clone(), "line 1 is not a name and"),
            (format!("crm {key}"), "line 1 has no SHA-256"),
            (format!("{line}\n{line}"), "line 2 repeats"),
            (line.replace("crm", "c/m"), "name in line 1"),
        ] {
            let error = format!("{:#}", ServiceKeys::parse(&text).unwrap_err());
            assert!(error.contains(part) && !error.contains(&key), "{error}");
        }
    }
}
