//! Decides by SQLSTATE whose fault a failed statement of the source is: the one table of these decisions.
//!
//! Everything that the table does not name is a fault of the system, and so is every failure of our own tables.

/// What the source was asked when it failed.
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
pub enum Fault {
    /// A value of this account: another attempt would meet it again.
    Value,
    /// The catalogue, which no longer fits the database: every account would meet it.
    Catalogue,
    /// The database, for now: another attempt may not meet it.
    System,
}

/// A missing right: class 42, but a grant and not the catalogue puts it right.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// By the beginning of a SQLSTATE, the first line that fits decides: its fault while keys, casts and rows are read.
///
/// - 22: a value is not of its type, is out of its range, divides by zero. A keys query or a cast of keys does the
///   same to every account.
/// - 54000: a row, an array or a text is larger than PostgreSQL can deliver.
/// - XX000, XX001: an internal error, such as a TOAST value that is missing, and data that is corrupt on disk.
/// - 42: what a query names does not exist, or has another type.
const TABLE: [(&str, [Fault; 3]); 6] = {
    use Fault::{Catalogue, System, Value};
    [
        (INSUFFICIENT_PRIVILEGE, [System, System, System]),
        ("22", [Catalogue, Catalogue, Value]),
        ("42", [Catalogue, Catalogue, System]),
        ("54000", [Value, System, Value]),
        ("XX000", [Value, System, Value]),
        ("XX001", [Value, System, Value]),
    ]
};

/// Decides whose fault it is that the source answered with this SQLSTATE; an empty one is no answer at all.
pub fn fault(asked: Asked, sqlstate: &str) -> Fault {
    let line = TABLE.iter().find(|(prefix, _)| sqlstate.starts_with(prefix));
    line.map_or(Fault::System, |(_, [keys, cast, rows])| match asked {
        Asked::Keys => *keys,
        Asked::Cast => *cast,
        Asked::Rows => *rows,
    })
}

/// Returns the SQLSTATE that a database answered with; empty when it was no answer.
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
            assert_eq!(fault(Asked::Rows, sqlstate), Fault::Value, "{sqlstate}");
            assert_ne!(fault(Asked::Cast, sqlstate), Fault::Value, "{sqlstate}");
        }
        assert_eq!(fault(Asked::Cast, "22P02"), Fault::Catalogue);
    }

    #[test]
    fn everything_else_is_the_systems_fault() {
        // Every class of PostgreSQL's list but those of the table, and the near neighbours of its lines.
        for sqlstate in [
            "", "08006", "0A000", "20000", "21000", "23514", "25006", "25P03", "26000", "28P01", "2F000",
            "34000", "3D000", "40001", "40P01", "42501", "44000", "53100", "53200", "53300", "53400",
            "54001", "54011", "54023", "55000", "55P03", "57014", "57P01", "57P05", "58000", "58030",
            "72000", "F0000", "HV000", "P0001", "XX002",
        ] {
            for asked in [Asked::Keys, Asked::Cast, Asked::Rows] {
                assert_eq!(fault(asked, sqlstate), Fault::System, "{sqlstate} {asked:?}");
            }
        }
    }
}
