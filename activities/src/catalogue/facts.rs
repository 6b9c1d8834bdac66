//! What a person has a right to know about an entity, beside its rows.

use serde::{Deserialize, Serialize};

/// What a person has a right to know about their data, beside a copy of it (GDPR Art. 15(1)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What it is used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Where it comes from, if not from the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who else gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<String>,
    /// How long it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl Facts {
    /// Their keys in the catalogue and their words for the person, in order.
    pub const NAMES: [(&str, &str); 5] = [
        ("purpose", "Used for"),
        ("source", "Comes from"),
        ("recipients", "Given to"),
        ("retention", "Kept"),
        ("owner", "Responsible"),
    ];

    /// Returns what is known, in the order of [`NAMES`](Self::NAMES).
    pub fn texts(&self) -> [Option<&str>; 5] {
        [&self.purpose, &self.source, &self.recipients, &self.retention, &self.owner].map(Option::as_deref)
    }

    /// Returns what is known, with its words.
    pub fn known(&self) -> impl Iterator<Item = (&'static str, &str)> {
        Self::NAMES.into_iter().zip(self.texts()).filter_map(|((_, words), text)| Some((words, text?)))
    }
}
