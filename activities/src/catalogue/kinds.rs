//! How a PostgreSQL type is read: unchanged, cast to its base type, as text, or through the server's `to_json`.
//!
//! A value equals the result of `to_json`. If that is a string and there is no encoder, the type is selected as text,
//! which costs least. If it is an object or an array, the server makes it.

use crate::serialise::ValueKind;

/// A base type that has an encoder.
pub(super) struct BaseType {
    /// Its fixed OID.
    oid: i64,
    /// Its name as `format_type()` writes it.
    pub(super) name: &'static str,
    /// Its name in a cast, which never adds a length.
    pub(super) cast: &'static str,
    kind: fn() -> ValueKind,
}

impl BaseType {
    pub(super) fn kind(&self) -> ValueKind {
        (self.kind)()
    }

    const fn new(oid: i64, name: &'static str, cast: &'static str, kind: fn() -> ValueKind) -> Self {
        Self { oid, name, cast, kind }
    }
}

static BASE_TYPES: [BaseType; 23] = [
    BaseType::new(16, "boolean", "pg_catalog.bool", || ValueKind::Bool),
    BaseType::new(17, "bytea", "pg_catalog.bytea", || ValueKind::Bytea),
    // Its binary form may not be UTF-8.
    BaseType::new(18, "\"char\"", "pg_catalog.text", || ValueKind::Text),
    BaseType::new(19, "name", "pg_catalog.name", || ValueKind::Text),
    BaseType::new(20, "bigint", "pg_catalog.int8", || ValueKind::Int8),
    BaseType::new(21, "smallint", "pg_catalog.int2", || ValueKind::Int2),
    BaseType::new(23, "integer", "pg_catalog.int4", || ValueKind::Int4),
    BaseType::new(25, "text", "pg_catalog.text", || ValueKind::Text),
    BaseType::new(114, "json", "pg_catalog.json", || ValueKind::Json),
    BaseType::new(650, "cidr", "pg_catalog.cidr", || ValueKind::Inet),
    BaseType::new(700, "real", "pg_catalog.float4", || ValueKind::Float4),
    BaseType::new(701, "double precision", "pg_catalog.float8", || ValueKind::Float8),
    BaseType::new(869, "inet", "pg_catalog.inet", || ValueKind::Inet),
    // A cast to text would cut its trailing blanks.
    BaseType::new(PADDED_OID, "character", "pg_catalog.bpchar", || ValueKind::Text),
    BaseType::new(1043, "character varying", "pg_catalog.varchar", || ValueKind::Text),
    BaseType::new(1082, "date", "pg_catalog.date", || ValueKind::Date),
    BaseType::new(1083, "time without time zone", "pg_catalog.time", || ValueKind::Time),
    BaseType::new(1114, "timestamp without time zone", "pg_catalog.timestamp", || ValueKind::Timestamp),
    BaseType::new(1184, "timestamp with time zone", "pg_catalog.timestamptz", || ValueKind::Timestamptz),
    BaseType::new(1186, "interval", "pg_catalog.interval", || ValueKind::Interval),
    BaseType::new(1700, "numeric", "pg_catalog.numeric", || ValueKind::Numeric),
    BaseType::new(2950, "uuid", "pg_catalog.uuid", || ValueKind::Uuid),
    BaseType::new(3802, "jsonb", "pg_catalog.jsonb", || ValueKind::Jsonb),
];

const CHAR_OID: i64 = 18;
const PADDED_OID: i64 = 1042;

/// A column's type as the system catalogs describe it.
#[derive(Clone, Debug)]
pub(super) struct FoundType {
    /// The column's own type.
    pub(super) oid: i64,
    /// The base type inside its domains and arrays.
    pub(super) base: i64,
    /// The form that `to_json` writes the base type in.
    pub(super) form: Form,
    /// The number of arrays around the base type (an array of a domain over an array has two).
    pub(super) arrays: i32,
}

impl FoundType {
    /// Returns whether a cast to text would cut the values' trailing blanks.
    pub(super) fn is_padded(&self) -> bool {
        self.base == PADDED_OID
    }
}

/// The form that `to_json` writes a type in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The label of an enum.
    Enum,
    /// Not a string: a composite type, an old vector, or a type with a cast to `json`, such as `hstore`.
    Json,
    /// A string that may differ from the cast to text. The type has a separate cast to text, or it is `xml`, whose
    /// output drops an outdated encoding.
    String,
    /// The form of its base type, or its text.
    Other,
}

impl Form {
    /// Reads the name that the check of the system catalogs returns.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "enum" => Self::Enum,
            "json" => Self::Json,
            "string" => Self::String,
            _ => Self::Other,
        }
    }
}

/// How a type is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Encoder {
    /// How it comes over the wire.
    pub(super) kind: ValueKind,
    /// The SQL before its column in the select list.
    pub(super) before: &'static str,
    /// The SQL after it.
    pub(super) after: String,
}

impl Encoder {
    fn cast(kind: ValueKind, cast: &str) -> Self {
        Self { kind, before: "", after: format!("::{cast}") }
    }

    fn to_json(kind: ValueKind, after: &str) -> Self {
        Self { kind, before: "pg_catalog.to_json(", after: format!("){after}") }
    }
}

/// Returns the encoder of a type.
pub(super) fn encoder(found: &FoundType) -> Encoder {
    let base = BASE_TYPES.iter().find(|base| base.oid == found.base);
    let element = match found.form {
        Form::Json => return Encoder::to_json(ValueKind::Json, ""),
        Form::String if found.arrays == 0 => {
            return Encoder::to_json(ValueKind::Text, " operator(pg_catalog.#>>) '{}'");
        }
        Form::String => None,
        Form::Enum => Some((ValueKind::Text, "pg_catalog.text")),
        Form::Other => base.map(|base| (base.kind(), base.cast)),
    };
    match (element, found.arrays) {
        (Some((kind, _)), 0) if found.oid == found.base && found.base != CHAR_OID && base.is_some() => {
            Encoder { kind, before: "", after: String::new() }
        }
        (Some((kind, cast)), 0) => Encoder::cast(kind, cast),
        (Some((kind, cast)), 1) => Encoder::cast(ValueKind::Array(Box::new(kind)), &format!("{cast}[]")),
        (None, 0) => Encoder::cast(ValueKind::Text, "pg_catalog.text"),
        _ => Encoder::to_json(ValueKind::Json, ""),
    }
}

/// Returns whether a type's name alone says that its values are no ids of users. The types of the platform's own are
/// known only with its database.
pub(super) fn is_known_not_to_be_an_id(name: &str) -> bool {
    is_known_to_be(name, |kind| !is_id(kind))
}

/// Returns whether a type's name alone says that its values are no JSON.
pub(super) fn is_known_not_to_be_json(name: &str) -> bool {
    is_known_to_be(name, |kind| !is_json(kind))
}

/// Returns whether a type's name alone says this of the kind of its values, or of its elements.
pub(super) fn is_known_to_be(name: &str, what: fn(&ValueKind) -> bool) -> bool {
    let element = name.trim_end_matches("[]");
    let bare = element.split_once('(').map_or(element, |(before, _)| before);
    BASE_TYPES.iter().any(|base| base.name == bare && what(&base.kind()))
}

/// Returns whether values of a kind are JSON, or lists of it.
pub(super) fn is_json(kind: &ValueKind) -> bool {
    match kind {
        ValueKind::Json | ValueKind::Jsonb => true,
        ValueKind::Array(element) => is_json(element),
        _ => false,
    }
}

/// Returns whether values of a kind may be ids of users.
pub(super) fn is_id(kind: &ValueKind) -> bool {
    match kind {
        ValueKind::Uuid | ValueKind::Int2 | ValueKind::Int4 | ValueKind::Int8 | ValueKind::Text => true,
        ValueKind::Array(element) => is_id(element),
        _ => false,
    }
}

/// Finds the base type of a computed column, which is in no system catalog.
pub(super) fn named(name: &str) -> Option<&'static BaseType> {
    BASE_TYPES.iter().find(|base| base.name == name && base.oid != CHAR_OID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(oid: i64, base: i64, arrays: i32) -> FoundType {
        FoundType { oid, base, form: Form::Other, arrays }
    }

    /// Returns the kind, and the SQL that selects the column `c`.
    fn selected(found: &FoundType) -> (ValueKind, String) {
        let Encoder { kind, before, after } = encoder(found);
        (kind, format!("{before}c{after}"))
    }

    #[test]
    fn a_base_type_is_selected_as_it_is() {
        assert_eq!(selected(&found(23, 23, 0)), (ValueKind::Int4, "c".to_owned()));
    }

    #[test]
    fn a_domain_is_cast_to_its_base_type_without_a_length() {
        assert_eq!(selected(&found(90_000, 1042, 0)), (ValueKind::Text, "c::pg_catalog.bpchar".to_owned()));
    }

    #[test]
    fn an_enum_and_an_array_of_it_become_text() {
        let label = FoundType { oid: 90_000, base: 90_000, form: Form::Enum, arrays: 0 };
        assert_eq!(selected(&label), (ValueKind::Text, "c::pg_catalog.text".to_owned()));
        let labels = FoundType { oid: 90_001, arrays: 1, ..label };
        let text_array = ValueKind::Array(Box::new(ValueKind::Text));
        assert_eq!(selected(&labels), (text_array, "c::pg_catalog.text[]".to_owned()));
    }

    #[test]
    fn what_has_no_encoder_is_selected_as_text_where_to_json_gives_a_string() {
        assert_eq!(selected(&found(3910, 3910, 0)), (ValueKind::Text, "c::pg_catalog.text".to_owned()));
        let recast = FoundType { form: Form::String, ..found(142, 142, 0) };
        let text = "pg_catalog.to_json(c) operator(pg_catalog.#>>) '{}'".to_owned();
        assert_eq!(selected(&recast), (ValueKind::Text, text));
    }

    #[test]
    fn what_has_no_encoder_is_made_by_the_server_where_to_json_gives_no_string() {
        let made = (ValueKind::Json, "pg_catalog.to_json(c)".to_owned());
        // Arrays of a domain over an array, of ranges and of xml; a composite type, and an array of it.
        let (composite, xmls) = (found(90_003, 90_003, 0), found(143, 142, 1));
        for type_ in [
            found(90_002, 23, 2),
            found(3911, 3910, 1),
            FoundType { form: Form::String, ..xmls },
            FoundType { form: Form::Json, ..composite.clone() },
            FoundType { form: Form::Json, arrays: 1, ..composite },
        ] {
            assert_eq!(selected(&type_), made, "{type_:?}");
        }
    }
}
