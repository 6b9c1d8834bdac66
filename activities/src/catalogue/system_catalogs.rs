//! The queries that read what a database has: relations, columns, types and indexes.
//!
//! They read `pg_catalog`, because `information_schema` hides the columns that the reading role may not read.

use indexmap::IndexSet;
use sqlx::SqlStr;

use super::{
    Entity,
    sql::{self, SqlPart, halves},
};

/// Returns two queries: for the columns of all relations and the base types inside their types, and for their indexes.
///
/// They have constants instead of parameters, so that they travel in one message with the begin of the transaction.
pub(super) fn statement(relations: &IndexSet<String>, entities: &[Entity]) -> SqlStr {
    let mut parts = vec![SqlPart::Sql("with recursive wanted(relation, schema, name) as (values ")];
    push_wanted(&mut parts, relations.iter().map(String::as_str));
    parts.push(SqlPart::Sql("), compared(relation, name) as (values "));
    let mut comma = "";
    for entity in entities {
        let index = relations.get_index_of(&entity.relation).unwrap_or_default();
        for column in entity.compared() {
            parts.extend([
                SqlPart::Sql(comma),
                SqlPart::Sql("("),
                SqlPart::Number(index),
                SqlPart::Sql(", "),
                SqlPart::Literal(column),
                SqlPart::Sql("::pg_catalog.name)"),
            ]);
            comma = ", ";
        }
    }
    parts.push(SqlPart::Sql(
        "),
        found as (
            select w.relation, pg_catalog.row_security_active(c.oid) as row_security, a.attnum, a.attname, a.atttypid,
                a.atttypmod, (w.relation, a.attname) in (select k.relation, k.name from compared k) as is_compared
            from wanted w
            join pg_catalog.pg_namespace n on n.nspname = w.schema
            join pg_catalog.pg_class c
                on c.relnamespace = n.oid and c.relname = w.name and c.relkind in ('r', 'p', 'v', 'm', 'f')
            left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        ),
        -- Down from each type through its domains and arrays (22 and 30 are the old vectors, not arrays).
        walk(type, at, arrays, typtype, below) as (
            select t.oid, t.oid, 0, t.typtype, b.below
            from pg_catalog.pg_type t,
                lateral (select case
                    when t.typtype = 'd' then t.typbasetype
                    when t.typcategory = 'A' and t.typlen = -1 and t.oid not in (22, 30) then t.typelem
                    else 0 end as below) b
            where t.oid in (select f.atttypid from found f)
            union all
            select w.type, t.oid, w.arrays + case w.typtype when 'd' then 0 else 1 end, t.typtype, b.below
            from walk w
            join pg_catalog.pg_type t on t.oid = w.below,
                lateral (select case
                    when t.typtype = 'd' then t.typbasetype
                    when t.typcategory = 'A' and t.typlen = -1 and t.oid not in (22, 30) then t.typelem
                    else 0 end as below) b
        )
        select f.relation, f.row_security, f.attname::pg_catalog.text,
            pg_catalog.format_type(f.atttypid, f.atttypmod), f.atttypid::pg_catalog.int8, w.at::pg_catalog.int8,
            -- As to_json sees it: it takes a cast to json (114) of a type that came later than the system's own.
            case
                when w.typtype = 'c' or w.at in (22, 30) then 'json'
                when exists (
                    select from pg_catalog.pg_cast c
                    where c.castsource = w.at and c.casttarget = 114 and c.castmethod = 'f' and w.at >= 16384
                ) then 'json'
                when w.typtype = 'e' and not x.has_text then 'enum'
                when w.at = 142 or x.has_text then 'string'
                else 'other'
            end::pg_catalog.text,
            w.arrays,
            -- A cast must not add a length, which would cut a key, and `=` must be the type's own.
            case when f.is_compared then pg_catalog.format_type(w.at, -1) end,
            case when f.is_compared then (
                select n.nspname::pg_catalog.text
                from pg_catalog.pg_opclass k
                join pg_catalog.pg_amop m
                    on m.amopfamily = k.opcfamily and m.amoplefttype = k.opcintype and m.amoprighttype = k.opcintype
                    and (m.amopmethod, m.amopstrategy) in ((403, 3), (405, 1))
                join pg_catalog.pg_operator o on o.oid = m.amopopr and o.oprname = '='
                join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
                where k.opcintype = w.at and k.opcdefault
                limit 1
            ) end
        from found f
        left join walk w on w.type = f.atttypid and w.below = 0
        left join lateral (
            select exists (
                select from pg_catalog.pg_cast c
                where c.castsource = w.at and c.casttarget = 25 and c.castmethod = 'f' and w.at >= 16384
            ) as has_text
        ) x on true
        order by f.relation, f.attnum; ",
    ));
    let indexes = indexes(relations.iter().map(String::as_str));
    parts.push(SqlPart::Trusted(indexes.as_str()));
    sql::statement(&parts)
}

/// Returns a query, to stand in brackets, for a digest of what [`statement`] would read. It changes whenever the answer
/// does, but for changes of casts and of the types below an own type, and costs a fraction.
pub(super) fn fingerprint(relations: &IndexSet<String>) -> SqlStr {
    let mut parts = vec![SqlPart::Sql("with wanted(relation, schema, name) as (values ")];
    push_wanted(&mut parts, relations.iter().map(String::as_str));
    parts.push(SqlPart::Sql(
        ")
        select pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.string_agg(
            pg_catalog.concat_ws(' ', w.relation, c.oid, c.relkind, pg_catalog.row_security_active(c.oid), a.columns,
                i.indexes), ';' order by w.relation), 'UTF8')), 'hex')
        from wanted w
        join pg_catalog.pg_namespace n on n.nspname = w.schema
        join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
        left join lateral (
            select pg_catalog.string_agg(pg_catalog.concat_ws('.', a.attnum, a.xmin, t.xmin), ',' order by a.attnum) as columns
            from pg_catalog.pg_attribute a
            left join pg_catalog.pg_type t on t.oid = a.atttypid and a.atttypid >= 16384
            where a.attrelid = c.oid and a.attnum > 0
        ) a on true
        left join lateral (
            select pg_catalog.string_agg(pg_catalog.concat_ws('.', i.indexrelid, i.xmin), ',' order by i.indexrelid)
                as indexes
            from pg_catalog.pg_index i
            where i.indrelid = c.oid
        ) i on true",
    ));
    sql::statement(&parts)
}

/// Returns the query for the indexes that give an order. Such an index is complete, and sorts as `order by` does.
pub(super) fn indexes<'a>(relations: impl Iterator<Item = &'a str>) -> SqlStr {
    let mut parts = vec![SqlPart::Sql("with wanted(relation, schema, name) as (values ")];
    push_wanted(&mut parts, relations);
    parts.push(SqlPart::Sql(
        ")
        select w.relation, pg_catalog.array_agg(a.attname::pg_catalog.text order by k.position),
            pg_catalog.bool_or(i.indisprimary)
        from wanted w
        join pg_catalog.pg_namespace n on n.nspname = w.schema
        join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
        join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisvalid and i.indpred is null and i.indexprs is null
        join pg_catalog.pg_class b on b.oid = i.indexrelid and b.relam = 403
        cross join lateral pg_catalog.generate_series(0, i.indnkeyatts - 1) k(position)
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[k.position]
        join pg_catalog.pg_opclass p on p.oid = i.indclass[k.position]
        group by w.relation, i.indexrelid
        having pg_catalog.bool_and(i.indoption[k.position] in (0, 3) and p.opcdefault
            and i.indcollation[k.position] = a.attcollation)",
    ));
    sql::statement(&parts)
}

fn push_wanted<'a>(parts: &mut Vec<SqlPart<'a>>, relations: impl Iterator<Item = &'a str>) {
    for (index, relation) in relations.enumerate() {
        let (schema, name) = halves(relation);
        parts.extend([
            SqlPart::Sql(if index == 0 { "(" } else { ", (" }),
            SqlPart::Number(index),
            SqlPart::Sql(", "),
            SqlPart::Literal(schema),
            SqlPart::Sql("::pg_catalog.name, "),
            SqlPart::Literal(name),
            SqlPart::Sql("::pg_catalog.name)"),
        ]);
    }
}
