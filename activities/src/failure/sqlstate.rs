//! Decides by SQLSTATE whose fault a failed statement of the source is. This is the only table of these decisions.
//!
//! Every SQLSTATE that is not in the table is a fault of the system. So is every failure of our own tables.

/// The kind of statement that failed in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The keys of an account, by a query of the catalogue.
    Keys,
    /// The cast of an account's keys to the type of the column that they are compared with.
    Cast,
    /// The rows of an account.
    Rows,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// A value of this account. Another attempt would fail in the same way.
    Value,
    /// The catalogue, which no longer fits the database. Every account would fail.
    Catalogue,
    /// The database, for now. Another attempt may succeed.
    System,
}

/// A missing right. It has class 42, but a grant fixes it, not the catalogue.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Prefixes of SQLSTATEs, each with its fault for keys, casts and rows. The first line that matches decides.
///
/// - 22: a value is not of its type, is out of range, or divides by zero. In a keys query or a cast of keys, this fails
///   for every account.
/// - 54000: a row, an array or a text is larger than PostgreSQL can deliver.
/// - XX000, XX001: an internal error, such as a missing TOAST value, and data that is corrupt on disk.
/// - 42: a name in a query does not exist, or has another type.
const TABLE: [(&str, [Blame; 3]); 6] = {
    use Blame::{Catalogue, System, Value};
    [
        (INSUFFICIENT_PRIVILEGE, [System, System, System]),
        ("22", [Catalogue, Catalogue, Value]),
        ("42", [Catalogue, Catalogue, System]),
        ("54000", [Value, System, Value]),
        ("XX000", [Value, System, Value]),
        ("XX001", [Value, System, Value]),
    ]
};

/// Decides whose fault this SQLSTATE of the source is. An empty one means that the source did not answer.
pub fn fault(asked: Asked, sqlstate: &str) -> Blame {
    let line = TABLE.iter().find(|(prefix, _)| sqlstate.starts_with(prefix));
    line.map_or(Blame::System, |(_, [keys, cast, rows])| match asked {
        Asked::Keys => *keys,
        Asked::Cast => *cast,
        Asked::Rows => *rows,
    })
}

/// Returns the SQLSTATE of a database's answer; empty if the database did not answer.
pub fn of(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_table_decides_and_no_line_hides_another() {
        for (number, (prefix, faults)) in TABLE.iter().enumerate() {
            let earlier = TABLE[..number].iter().find(|(earlier, _)| prefix.starts_with(earlier));
            assert!(earlier.is_none(), "{prefix} is never reached");
            let sqlstate = format!("{prefix:0<5}");
            for (asked, expected) in [Asked::Keys, Asked::Cast, Asked::Rows].into_iter().zip(faults) {
                assert_eq!(fault(asked, &sqlstate), *expected, "{sqlstate} {asked:?}");
            }
        }
    }

    #[test]
    fn a_value_is_blamed_only_while_rows_of_its_account_are_read() {
        for sqlstate in ["22003", "22012", "22021", "22P02", "22P03", "54000", "XX000", "XX001"] {
            assert_eq!(fault(Asked::Rows, sqlstate), Blame::Value, "{sqlstate}");
            assert_ne!(fault(Asked::Cast, sqlstate), Blame::Value, "{sqlstate}");
        }
        assert_eq!(fault(Asked::Cast, "22P02"), Blame::Catalogue);
    }

    #[test]
    fn everything_else_is_the_systems_fault() {
        // Every class of PostgreSQL's list that is not in the table, and codes close to its lines.
        for sqlstate in [
            "", "08006", "0A000", "20000", "21000", "23514", "25006", "25P03", "26000", "28P01", "2F000",
            "34000", "3D000", "40001", "40P01", "42501", "44000", "53100", "53200", "53300", "53400",
            "54001", "54011", "54023", "55000", "55P03", "57014", "57P01", "57P05", "58000", "58030",
            "72000", "F0000", "HV000", "P0001", "XX002",
        ] {
            for asked in [Asked::Keys, Asked::Cast, Asked::Rows] {
                assert_eq!(fault(asked, sqlstate), Blame::System, "{sqlstate} {asked:?}");
            }
        }
    }
}
