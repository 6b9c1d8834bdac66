//! `[[defaults]]`: decisions for columns by patterns of their names.

use super::{Use, document::Value, matches_pattern, parse::parse_use};

/// The decisions, in the order of the file. The first pattern that fits a name counts.
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

    /// Returns the decision for a name, whatever its case.
    pub(super) fn of(&self, name: &str) -> Option<&Decision> {
        let name = name.to_lowercase();
        self.0.iter().find(|decision| matches_pattern(&decision.pattern, &name))
    }
}
