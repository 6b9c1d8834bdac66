//! Checks of arguments that several commands take.

/// Returns the text unless it is empty.
pub(super) fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}
