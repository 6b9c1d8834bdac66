//! How a PostgreSQL type is read: as it is, cast to the type beneath it, or as text.

use crate::serialise::ValueKind;

/// A base type that has an encoder.
pub(super) struct BaseType {
    /// Its fixed OID.
    oid: i64,
    /// `format_type()` of it.
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
    BaseType::new(1042, "character", "pg_catalog.bpchar", || ValueKind::Text),
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
const TEXT_CAST: &str = "::pg_catalog.text";

/// A column's type as the system catalogs describe it.
#[derive(Clone, Debug)]
pub(super) struct FoundType {
    /// The column's own type.
    pub(super) oid: i64,
    /// What is beneath its domains and arrays.
    pub(super) base: i64,
    /// Whether that is an enum.
    pub(super) is_enum: bool,
    /// How many arrays lie above it (an array of a domain over an array has two).
    pub(super) arrays: i32,
}

/// Gives the encoder of a type and the cast with which it is selected, empty for none.
pub(super) fn encoder(found: &FoundType) -> (ValueKind, String) {
    let element = if found.is_enum {
        Some((ValueKind::Text, "pg_catalog.text"))
    } else {
        BASE_TYPES.iter().find(|base| base.oid == found.base).map(|base| (base.kind(), base.cast))
    };
    match (element, found.arrays) {
        (Some((kind, _)), 0) if found.oid == found.base && found.base != CHAR_OID && !found.is_enum => {
            (kind, String::new())
        }
        (Some((kind, cast)), 0) => (kind, format!("::{cast}")),
        (Some((kind, cast)), 1) => (ValueKind::Array(Box::new(kind)), format!("::{cast}[]")),
        _ => (ValueKind::Text, TEXT_CAST.to_owned()),
    }
}

/// Finds the base type of a computed column, which no system catalog knows.
pub(super) fn named(name: &str) -> Option<&'static BaseType> {
    BASE_TYPES.iter().find(|base| base.name == name && base.oid != CHAR_OID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(oid: i64, base: i64, arrays: i32) -> FoundType {
        FoundType { oid, base, is_enum: false, arrays }
    }

    #[test]
    fn a_base_type_is_selected_as_it_is() {
        assert_eq!(encoder(&found(23, 23, 0)), (ValueKind::Int4, String::new()));
    }

    #[test]
    fn a_domain_is_cast_to_its_base_type_without_a_length() {
        assert_eq!(encoder(&found(90_000, 1042, 0)), (ValueKind::Text, "::pg_catalog.bpchar".to_owned()));
    }

    #[test]
    fn an_enum_and_an_array_of_it_become_text() {
        let label = FoundType { oid: 90_000, base: 90_000, is_enum: true, arrays: 0 };
        assert_eq!(encoder(&label), (ValueKind::Text, "::pg_catalog.text".to_owned()));
        let labels = FoundType { oid: 90_001, arrays: 1, ..label };
        let text_array = ValueKind::Array(Box::new(ValueKind::Text));
        assert_eq!(encoder(&labels), (text_array, "::pg_catalog.text[]".to_owned()));
    }

    #[test]
    fn what_has_no_encoder_is_selected_as_text() {
        assert_eq!(encoder(&found(3910, 3910, 0)), (ValueKind::Text, TEXT_CAST.to_owned()));
        assert_eq!(encoder(&found(90_002, 23, 2)), (ValueKind::Text, TEXT_CAST.to_owned()));
        assert_eq!(encoder(&found(3911, 3910, 1)), (ValueKind::Text, TEXT_CAST.to_owned()));
    }
}
