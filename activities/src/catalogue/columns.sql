-- Every column of the relations ($1 schemas, $2 names, same order), with its type as `format_type` writes it, and that
-- type followed down to its base: through domains, then into an array's element, then through domains again.
select w.entity, a.attname::text as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
    c.relrowsecurity as row_security,
    base.oid::int8 as base, pg_catalog.format_type(base.oid, null) as base_name, base.typtype = 'e' as base_is_enum,
    coalesce(element.oid, 0)::int8 as element,
    coalesce(pg_catalog.format_type(element.oid, null), '') as element_name,
    coalesce(element.typtype = 'e', false) as element_is_enum
from unnest($1::text[], $2::text[]) with ordinality w(schema, relation, entity)
join pg_catalog.pg_namespace n on n.nspname = w.schema
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.relation
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
cross join lateral (
    with recursive down as (
        select t.oid, t.typtype, t.typbasetype, t.typelem, t.typcategory, 0 as depth
        from pg_catalog.pg_type t where t.oid = a.atttypid
        union all
        select t.oid, t.typtype, t.typbasetype, t.typelem, t.typcategory, depth + 1
        from down join pg_catalog.pg_type t on down.typtype = 'd' and t.oid = down.typbasetype
    )
    select * from down order by depth desc limit 1
) base
left join lateral (
    with recursive down as (
        select t.oid, t.typtype, t.typbasetype, 0 as depth
        from pg_catalog.pg_type t where base.typcategory = 'A' and t.oid = base.typelem
        union all
        select t.oid, t.typtype, t.typbasetype, depth + 1
        from down join pg_catalog.pg_type t on down.typtype = 'd' and t.oid = down.typbasetype
    )
    select * from down order by depth desc limit 1
) element on true
order by w.entity, a.attnum
