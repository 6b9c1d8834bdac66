//! `[[defaults]]`: decisions for columns by patterns of their names.

use super::{
    Use,
    document::{Document, Value},
    matches_pattern,
    parse::parse_use,
};

/// The decisions, in the order of the file. The first pattern that matches a name decides.
#[derive(Default)]
pub(super) struct Defaults(Vec<Decision>);

/// One decision.
pub(super) struct Decision {
    /// In lower case, as all patterns here.
    pub(super) pattern: String,
    pub(super) use_: Use,
    pub(super) why: Option<String>,
}

impl Defaults {
    pub(super) fn parse(value: &Value<'_>) -> anyhow::Result<Self> {
        let mut defaults = Vec::new();
        for value in value.items()? {
            let decision = value.table()?;
            decision.only(&["columns", "use", "why"])?;
            let use_ = parse_use(&decision.required("use")?)?;
            let why = match use_ {
                Use::Omit => Some(decision.required("why")?.text()?),
                Use::Export | Use::Pseudonym => decision.optional("why").map(|why| why.text()).transpose()?,
            };
            for pattern in decision.required("columns")?.one_or_more()? {
                defaults.push(Decision { pattern: pattern.to_lowercase(), use_, why: why.clone() });
            }
        }
        Ok(Self(defaults))
    }

    /// Parses the decisions in the text of a catalogue, whatever else is in it.
    pub(super) fn of_text(file: &str, text: &str) -> anyhow::Result<Self> {
        let document = Document::new(file, text);
        let entries = document.parse()?;
        let defaults = document.root(&entries).optional("defaults");
        defaults.map(|value| Self::parse(&value)).transpose().map(Option::unwrap_or_default)
    }

    /// Returns whether a pattern decides a column that was added later. `*` alone does not: it was written for the
    /// columns of that day.
    pub(super) fn decide(&self, name: &str) -> bool {
        self.of(name).is_some_and(|decision| decision.pattern != "*")
    }

    /// Returns the decision for a name, whatever its case.
    pub(super) fn of(&self, name: &str) -> Option<&Decision> {
        let name = name.to_lowercase();
        self.0.iter().find(|decision| matches_pattern(&decision.pattern, &name))
    }
}
