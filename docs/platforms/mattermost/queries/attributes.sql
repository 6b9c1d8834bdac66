-- The same id may be that of a post or of a channel, hence targettype. What a value is depends on its field: a text,
-- ids of options, or ids of people. If the field is gone, nobody knows which, and neither column has it.
select v.id as key, f.name as attribute,
  case
    when f.type::text in ('select', 'multiselect', 'rank') then
      (select pg_catalog.string_agg(o.value ->> 'name', ', ' order by o.ordinality)
       from pg_catalog.jsonb_array_elements(
         case pg_catalog.jsonb_typeof(f.attrs -> 'options') when 'array' then f.attrs -> 'options' else '[]' end
       ) with ordinality o where v.value @> (o.value -> 'id'))
    when f.type::text in ('text', 'date') then v.value #>> '{}'
  end as answer,
  case when f.type::text in ('user', 'multiuser') then
    case pg_catalog.jsonb_typeof(v.value) when 'array' then v.value else pg_catalog.jsonb_build_array(v.value) end
  end as people,
  nullif(v.createdby, '') as creator, nullif(v.updatedby, '') as editor
from public.propertyvalues v
left join public.propertyfields f on f.id = v.fieldid
where v.targettype = 'user' and v.targetid = $1::text
