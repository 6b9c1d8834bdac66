//! Puts names from the catalogue into SQL. No other file of the project builds statements at run time.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

/// A piece of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SqlPart<'a> {
    /// Text of this program.
    Sql(&'static str),
    /// An identifier, quoted here.
    Name(&'a str),
    /// A relation as the catalogue names it, `schema.name`; each part is quoted here.
    Relation(&'a str),
    /// A string constant, quoted here.
    Literal(&'a str),
    /// The number of a parameter or of a generated name.
    Number(usize),
    /// Text that is already SQL: a keys query of the operator's file, or a type as `format_type()` writes it.
    Trusted(&'a str),
}

/// Builds the statement. Only this function quotes identifiers and declares SQL safe.
pub(crate) fn statement(parts: &[SqlPart<'_>]) -> SqlStr {
    let mut sql = String::new();
    for part in parts {
        match part {
            SqlPart::Sql(text) => sql.push_str(text),
            SqlPart::Trusted(text) => sql.push_str(text),
            SqlPart::Number(number) => sql.push_str(&number.to_string()),
            SqlPart::Name(name) => push_quoted(&mut sql, '"', name),
            SqlPart::Relation(relation) => {
                let (schema, name) = halves(relation);
                push_quoted(&mut sql, '"', schema);
                sql.push('.');
                push_quoted(&mut sql, '"', name);
            }
            SqlPart::Literal(text) => {
                // An escape string does not depend on standard_conforming_strings.
                sql.push('E');
                push_quoted(&mut sql, '\'', &text.replace('\\', "\\\\"));
            }
        }
    }
    AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
}

/// Splits `schema.name`. The catalogue has checked that the relation has this form.
pub(crate) fn halves(relation: &str) -> (&str, &str) {
    relation.split_once('.').unwrap_or(("", relation))
}

fn push_quoted(sql: &mut String, quote: char, text: &str) {
    sql.push(quote);
    for character in text.chars() {
        if character == quote {
            sql.push(quote);
        }
        sql.push(character);
    }
    sql.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_constants_cannot_leave_their_quotes() {
        let sql = statement(&[
            SqlPart::Sql("select "),
            SqlPart::Name("a\"; drop table b; --"),
            SqlPart::Sql(" from "),
            SqlPart::Relation("Odd schema.ta\"ble"),
            SqlPart::Sql(" where x = "),
            SqlPart::Literal("it's \\ here"),
        ]);
        assert_eq!(
            sql.as_str(),
            r#"select "a""; drop table b; --" from "Odd schema"."ta""ble" where x = E'it''s \\ here'"#
        );
    }
}
