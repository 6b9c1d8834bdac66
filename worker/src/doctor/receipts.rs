//! The key that signs receipts.

use super::Line;
use crate::{codec, config::Config, connect::explain::Explained};

/// Reports which key signs receipts, if they are signed.
pub(super) fn examine(config: &Config) -> Line {
    const CHECK: &str = "receipts";
    let exposed = config.receipt_key_file.as_deref().and_then(|file| Some((file, codec::exposed(file)?)));
    match (config.receipt_key(), exposed) {
        (Err(error), _) => Line::failed(
            CHECK,
            Explained::new(error.to_string(), "correct it; `run` refuses to start with it"),
        ),
        (Ok(None), _) => Line::skipped(CHECK, "off: EXPORT_RECEIPT_KEY_FILE is not set"),
        (Ok(Some(_)), Some((file, codec::Exposed(mode)))) => Line::warning(
            CHECK,
            Explained::new(
                format!("every user of this machine may read `{}` (mode {mode:o})", file.display()),
                "chmod 600 it, or 640 for the group of the worker",
            ),
        ),
        (Ok(Some(key)), None) => Line::ok(CHECK, format!("signed by the key {}", key.public().kid)),
    }
}
