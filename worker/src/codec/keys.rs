//! The file with the keys: one key a line, `<key id> <32 bytes in base64 or hexadecimal>`. The first key encrypts.

use std::{collections::HashSet, path::Path};

use anyhow::{Result, bail};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};

const BYTES: usize = 32;

/// Parses the lines. No error repeats a key.
pub(super) fn parse(text: &str) -> Result<Vec<(String, Box<[u8; BYTES]>)>> {
    let (mut keys, mut seen) = (Vec::new(), HashSet::new());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(id), Some(key), None) = (words.next(), words.next(), words.next()) else {
            bail!("line {number} is not `<key id> <32 bytes in base64 or hexadecimal>`");
        };
        let Some(key) = bytes(key) else {
            bail!(
                "line {number}: the key is not 32 bytes in base64 or hexadecimal (`openssl rand -hex 32` makes one)"
            );
        };
        if !seen.insert(id.to_owned()) {
            bail!("line {number}: there is a key `{id}` already; each needs a different id");
        }
        keys.push((id.to_owned(), key));
    }
    if keys.is_empty() {
        bail!("it holds no key: write a line `<key id> <32 bytes in base64 or hexadecimal>`");
    }
    Ok(keys)
}

fn bytes(text: &str) -> Option<Box<[u8; BYTES]>> {
    let decoded = hex::decode(text).ok().filter(|bytes| bytes.len() == BYTES).or_else(|| {
        [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD]
            .iter()
            .find_map(|alphabet| alphabet.decode(text).ok())
    })?;
    Some(Box::new(decoded.try_into().ok()?))
}

/// The rights of a file that others may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposed(pub u32);

/// Returns whether everybody on this machine may read the file.
#[cfg(unix)]
pub fn exposed(file: &Path) -> Option<Exposed> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().ok()?.permissions().mode() & 0o777;
    (mode & 0o004 != 0).then_some(Exposed(mode))
}

/// Returns whether everybody on this machine may read the file; not known on this system.
#[cfg(not(unix))]
pub fn exposed(_: &Path) -> Option<Exposed> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_both_writings_and_in_their_order() {
        let text = format!(
            "# ours\n\nnew {}\n  old\t{} \nurl {}\n",
            hex::encode([1; 32]),
            BASE64_STANDARD.encode([2; 32]),
            BASE64_URL_SAFE_NO_PAD.encode([255; 32])
        );
        let keys = parse(&text).unwrap();
        let read: Vec<_> = keys.iter().map(|(id, key)| (id.as_str(), key[0])).collect();
        assert_eq!(read, [("new", 1), ("old", 2), ("url", 255)]);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_never_repeated() {
        let key = hex::encode([7; 32]);
        for (text, said) in [
            (String::new(), "holds no key"),
            ("# only words\n".to_owned(), "holds no key"),
            (format!("\n{key}\n"), "line 2 is not"),
            (format!("one {key} {key}"), "line 1 is not"),
            (format!("one {}", &key[..62]), "line 1: the key is not 32 bytes"),
            ("one secret-word".to_owned(), "line 1: the key is not 32 bytes"),
            (format!("one {key}\none {key}"), "line 2: there is a key `one`"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains(&key[..60]) && !error.contains("secret-word"), "{error}");
        }
    }
}
