//! The columns of an entity, and how the values of each are sent and written.

use std::sync::Arc;

use super::parts::Parts;

/// How a value is sent over the wire; domains are resolved to their base type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, of any precision
    Numeric,
    /// Character types, enum labels, and every type that is selected as `::text`.
    Text,
    /// `uuid`
    Uuid,
    /// `date`
    Date,
    /// `time without time zone`
    Time,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    Timestamptz,
    /// `interval`
    Interval,
    /// `bytea`
    Bytea,
    /// `inet` and `cidr`
    Inet,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// An array of one of these.
    Array(Box<ValueKind>),
}

impl ValueKind {
    /// Returns whether a value may be larger than a few dozen bytes.
    pub fn may_be_large(&self) -> bool {
        matches!(self, Self::Numeric | Self::Text | Self::Bytea | Self::Json | Self::Jsonb | Self::Array(_))
    }

    /// Returns whether a value may be reported where no other value of a user may be: its type is one of identifiers.
    pub(super) fn is_identifier(&self) -> bool {
        matches!(self, Self::Uuid | Self::Int2 | Self::Int4 | Self::Int8)
    }

    /// Returns whether its values may hold half characters, which JSON writes escaped.
    pub fn may_have_halves(&self) -> bool {
        match self {
            Self::Json => true,
            Self::Array(element) => element.may_have_halves(),
            _ => false,
        }
    }

    /// Returns the name of the PostgreSQL type that holds the written values again.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Time => "time without time zone",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Interval => "interval",
            Self::Bytea => "bytea",
            Self::Inet => "inet",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            // PostgreSQL has no arrays of arrays. They come from domains, and a JSON array holds them too.
            Self::Array(element) if matches!(**element, Self::Array(_)) => "json",
            Self::Array(element) => return format!("{}[]", element.name()),
        };
        name.to_owned()
    }

    fn has_years(&self) -> bool {
        matches!(self, Self::Date | Self::Timestamp | Self::Timestamptz)
    }

    /// Returns whether all formats hold the JSON token itself.
    pub fn is_json_class(&self) -> bool {
        matches!(self, Self::Json | Self::Jsonb | Self::Array(_))
    }
}

/// What happens to the values of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// They are exported as they are.
    Export,
    /// Ids of other people are replaced by a pseudonym.
    Pseudonym,
    /// They are JSON, and parts of it are left out or replaced.
    Parts(Arc<Parts>),
}

/// One exported column of a statement, in the order of its select list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in all formats.
    pub name: String,
    /// How it is sent over the wire.
    pub kind: ValueKind,
    /// What happens to its values.
    pub treatment: Treatment,
    /// Its type, as PostgreSQL writes it.
    pub pg_type: String,
    /// What it holds, in words for the person whose data it is.
    pub about: String,
    /// Why parts of its values are left out, in the same words.
    pub why: String,
}

impl Column {
    /// Returns whether cells of this column hold JSON tokens, which CSV never marks.
    ///
    /// A pseudonymised id is a string whatever its column was, and an array of them is an array of strings.
    pub fn is_json_class(&self) -> bool {
        self.kind.is_json_class()
    }

    /// Returns the name of the PostgreSQL type that holds the written values again. A pseudonym is a text.
    pub fn written_type(&self) -> String {
        match (&self.kind, &self.treatment) {
            (ValueKind::Array(_), Treatment::Pseudonym) => "text[]".to_owned(),
            (_, Treatment::Pseudonym) => "text".to_owned(),
            (kind, _) => kind.name(),
        }
    }

    /// Returns whether its cells are days or moments, which have a year.
    pub fn has_years(&self) -> bool {
        self.kind.has_years() && self.treatment != Treatment::Pseudonym
    }

    /// Returns whether its cells may hold half characters.
    pub fn may_have_halves(&self) -> bool {
        self.kind.may_have_halves() && self.treatment != Treatment::Pseudonym
    }
}
