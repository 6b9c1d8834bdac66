//! Writes a first catalogue for given relations, in which every decision is still to be taken.

use anyhow::{Context, Result, bail};
use sqlx::{PgConnection, Row};

use super::{
    file::UNDECIDED,
    quote::{generated, split},
};

/// Gives the text of a `catalogue.toml` for the relations; it is refused until a person has decided each column.
pub async fn init(conn: &mut PgConnection, relations: &[String]) -> Result<String> {
    let mut text = String::from(
        "# Decide each `use`: \"export\", \"pseudonym\" (the id of a person: the requester's own stays as it is) or\n\
         # \"omit\" (with `why`). Then name the key set of each entity and the column that is one of its keys.\n\n\
         [keys.account]\nquery = \"select $1::uuid as key\"\n",
    );
    for name in relations {
        let (schema, relation) = split(name);
        let columns = generated(
            "select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
                 coalesce(a.attnum = any(i.indkey), false)
             from pg_catalog.pg_attribute a
             join pg_catalog.pg_class c on c.oid = a.attrelid
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
             where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped
             order by a.attnum",
        )
        .bind(schema)
        .bind(relation)
        .fetch_all(&mut *conn)
        .await
        .with_context(|| format!("failed to read the columns of `{name}`"))?;
        if columns.is_empty() {
            bail!("there is no relation `{name}`, or it has no columns; write it as `schema.relation`");
        }
        let mut lines = String::new();
        let mut order = Vec::new();
        for row in &columns {
            let (column, pg_type): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            if row.try_get(2)? {
                order.push(toml_string(&column));
            }
            lines += &format!(
                "{} = {{ type = {}, use = \"{UNDECIDED}\", about = \"\" }}\n",
                toml_string(&column),
                toml_string(&pg_type)
            );
        }
        text += &format!(
            "\n[entity.{}]\nrelation = {}\nkeys = \"account\"\nby = \"{UNDECIDED}\"\norder = [{}]\nabout = \"\"\n\
             [entity.{0}.columns]\n{lines}",
            toml_string(relation),
            toml_string(&format!("{schema}.{relation}")),
            order.join(", "),
        );
    }
    Ok(text)
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
