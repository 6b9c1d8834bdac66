-- Talks, and whatever type a later release adds: their names, titles and headers tell of the others.
-- The name of a talk of two is made of both ids; a group has its members in a table.
select c.id as key, nullif(c.creatorid, '') as creator,
  case
    when c.type = 'D' then pg_catalog.to_jsonb(pg_catalog.string_to_array(c.name, '__'))
    else (select pg_catalog.jsonb_agg(o.userid order by o.userid)
          from public.channelmembers o where o.channelid = c.id)
  end as participants
from public.channelmembers m
join public.channels c on c.id = m.channelid
where m.userid = $1::text and (c.type::text in ('O', 'P', 'BO', 'BP')) is not true
