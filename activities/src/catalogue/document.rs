//! Reads a TOML document so that every error names file, line and key.

use anyhow::anyhow;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The text and its file name, to name positions in errors.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
}

/// A table of the document.
#[derive(Clone)]
pub(super) struct Table<'a> {
    document: Document<'a>,
    path: String,
    at: usize,
    entries: &'a DeTable<'a>,
}

/// A value of the document, at its key.
#[derive(Clone)]
pub(super) struct Value<'a> {
    document: Document<'a>,
    path: String,
    at: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text }
    }

    /// Parses the text; [`Self::root`] reads the result.
    pub(super) fn parse(&self) -> anyhow::Result<DeTable<'a>> {
        match DeTable::parse(self.text) {
            Ok(table) => Ok(table.into_inner()),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                // The parser does not name the key, so the line itself is shown.
                let line = self.text.lines().nth(self.line(at) - 1).unwrap_or_default().trim();
                Err(anyhow!("{}:{}: {} in `{line}`", self.file, self.line(at), error.message()))
            }
        }
    }

    pub(super) fn root(&self, entries: &'a DeTable<'a>) -> Table<'a> {
        Table { document: *self, path: String::new(), at: 0, entries }
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    fn error(&self, at: usize, path: &str, message: impl std::fmt::Display) -> anyhow::Error {
        let line = self.line(at);
        if path.is_empty() {
            anyhow!("{}:{line}: {message}", self.file)
        } else {
            anyhow!("{}:{line}: `{path}`: {message}", self.file)
        }
    }
}

impl<'a> Table<'a> {
    /// Refuses unknown keys.
    pub(super) fn only(&self, known: &[&str]) -> anyhow::Result<()> {
        for (name, value) in self.iter() {
            if !known.contains(&name) {
                return Err(value.error(format_args!("unknown key, expected one of {}", known.join(", "))));
            }
        }
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + '_ {
        self.entries.iter().map(|(key, value)| {
            let name: &'a str = key.get_ref();
            let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
            (name, Value { document: self.document, path, at: key.span().start, value: value.get_ref() })
        })
    }

    pub(super) fn optional(&self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(super) fn required(&self, name: &str) -> anyhow::Result<Value<'a>> {
        self.optional(name).ok_or_else(|| self.error(format_args!("`{name}` is missing")))
    }

    pub(super) fn error(&self, message: impl std::fmt::Display) -> anyhow::Error {
        self.document.error(self.at, &self.path, message)
    }
}

impl<'a> Value<'a> {
    pub(super) fn table(&self) -> anyhow::Result<Table<'a>> {
        match self.value {
            DeValue::Table(entries) => {
                Ok(Table { document: self.document, path: self.path.clone(), at: self.at, entries })
            }
            _ => Err(self.unexpected("a table")),
        }
    }

    /// Returns the text. An empty or undecided text is an error.
    pub(super) fn text(&self) -> anyhow::Result<String> {
        match self.value {
            DeValue::String(text) if text.trim().is_empty() => Err(self.error("is empty")),
            DeValue::String(text) if text.trim() == super::UNDECIDED => {
                Err(self.error("is still UNDECIDED: a person has to decide it"))
            }
            DeValue::String(text) => Ok(text.as_ref().to_owned()),
            _ => Err(self.unexpected("a text")),
        }
    }

    /// Returns the values of a list.
    pub(super) fn items(&self) -> anyhow::Result<Vec<Self>> {
        let DeValue::Array(items) = self.value else { return Err(self.unexpected("a list")) };
        let place = |item: &'a Spanned<DeValue<'a>>| Value {
            value: item.get_ref(),
            at: item.span().start,
            ..self.clone()
        };
        Ok(items.iter().map(place).collect())
    }

    pub(super) fn texts(&self) -> anyhow::Result<Vec<String>> {
        self.items()?.iter().map(Self::text).collect()
    }

    /// Returns the texts of a list, or the one text.
    pub(super) fn one_or_more(&self) -> anyhow::Result<Vec<String>> {
        let texts = match self.value {
            DeValue::Array(_) => self.texts()?,
            _ => vec![self.text()?],
        };
        if texts.is_empty() { Err(self.error("is empty")) } else { Ok(texts) }
    }

    /// Returns constants, as texts: one, or a list.
    pub(super) fn constants(&self) -> anyhow::Result<Vec<String>> {
        let constant = |value: &DeValue<'_>| match value {
            DeValue::String(text) if text.trim() == super::UNDECIDED => {
                Err(self.error("is still UNDECIDED: a person has to decide it"))
            }
            DeValue::String(text) => Ok(text.as_ref().to_owned()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().replace('_', "")),
            other => Err(self.error(format_args!(
                "expected a text, a whole number, true or false, or a list of them, found {}",
                other.type_str()
            ))),
        };
        match self.value {
            DeValue::Array(items) if items.is_empty() => Err(self.error("is empty")),
            DeValue::Array(items) => items.iter().map(|item| constant(item.get_ref())).collect(),
            value => Ok(vec![constant(value)?]),
        }
    }

    /// Returns a whole number that is not negative.
    pub(super) fn whole(&self) -> anyhow::Result<u64> {
        match self.value {
            DeValue::Integer(number) if number.radix() == 10 => {
                number.as_str().replace('_', "").parse().map_err(|_| {
                    self.error("must be a whole number from 0 on, and not above 18446744073709551615")
                })
            }
            DeValue::Integer(_) => Err(self.error("write the number in decimal digits")),
            _ => Err(self.unexpected("a whole number")),
        }
    }

    pub(super) fn flag(&self) -> anyhow::Result<bool> {
        match self.value {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.unexpected("true or false")),
        }
    }

    pub(super) fn error(&self, message: impl std::fmt::Display) -> anyhow::Error {
        self.document.error(self.at, &self.path, message)
    }

    fn unexpected(&self, wanted: &str) -> anyhow::Error {
        self.error(format_args!("expected {wanted}, found {}", self.value.type_str()))
    }
}
