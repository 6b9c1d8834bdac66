-- The users of a platform have ids of any type. A request holds the text of the id, as the platform's database writes it.
-- A platform goes on inserting values of its own type: PostgreSQL assigns uuids and integers to a text column by itself.
--
-- The type of a column cannot change under a view or a trigger that names it, so both are made again. The rights on the
-- view, which the platform has, are given back.

do $$
declare
    rights text[];
    one text;
begin
    select array_agg(pg_catalog.format('grant %s on public.data_export_requests_effective to %s%s',
        a.privilege_type || case when a.column_name is null then '' else pg_catalog.format(' (%I)', a.column_name) end,
        case a.grantee when 0 then 'public' else a.grantee::pg_catalog.regrole::text end,
        case when a.is_grantable then ' with grant option' else '' end))
    into rights
    from (
        select null::name as column_name, x.*
        from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) x
        where c.oid = 'public.data_export_requests_effective'::pg_catalog.regclass and x.grantee <> c.relowner
        union all
        select t.attname, x.*
        from pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) x
        where t.attrelid = 'public.data_export_requests_effective'::pg_catalog.regclass
    ) a;

    drop view public.data_export_requests_effective;
    drop trigger data_export_requests_forget on public.data_export_requests;
    drop trigger data_export_requests_move on public.data_export_requests;

    alter table public.data_export_requests
        alter column user_id type text using user_id::text,
        add constraint data_export_requests_user check (
            octet_length(user_id) between 1 and 255 and user_id !~ '[[:cntrl:]]'
        );

    create trigger data_export_requests_forget before update on public.data_export_requests
        for each row
        when (new.user_id <> old.user_id and new.user_id = '00000000-0000-0000-0000-000000000000')
        execute function public.data_export_requests_forget();

    create trigger data_export_requests_move before update on public.data_export_requests
        for each row
        when (new.user_id = old.user_id or new.user_id <> '00000000-0000-0000-0000-000000000000')
        execute function public.data_export_requests_move();

    create view public.data_export_requests_effective with (security_barrier) as
    select
        id,
        user_id,
        case when overdue then 'failed' else status end as status,
        requested_at,
        expires_at,
        case when not overdue then download_url end as download_url,
        case when overdue then 'expired' else failure_reason end as failure_reason
    from (
        select r.*, r.status = 'ready' and r.expires_at <= clock_timestamp() as overdue
        from public.data_export_requests r
    ) r;

    foreach one in array coalesce(rights, '{}') loop
        execute one;
    end loop;
end $$;

comment on view public.data_export_requests_effective is 'What the platform shows: an overdue ready request is failed, without a link, from the very second on';
comment on column public.data_export_requests_effective.id is 'The request';
comment on column public.data_export_requests_effective.user_id is 'Whose data: the text of the user''s id';
comment on column public.data_export_requests_effective.status is 'pending, ready or failed, exact at the moment of reading';
comment on column public.data_export_requests_effective.requested_at is 'When the user asked';
comment on column public.data_export_requests_effective.expires_at is 'When the link stops working';
comment on column public.data_export_requests_effective.download_url is 'The presigned link, while it works';
comment on column public.data_export_requests_effective.failure_reason is 'Why it failed';
comment on column public.data_export_requests.user_id is 'Whose data: the text of the user''s id; no foreign key, because a request outlives the account. The nil UUID: forgotten';

-- A uuid has several spellings. Two of them in two requests must not be two users.
create function public.data_export_requests_spell_user() returns trigger
language plpgsql set search_path = '' as $$
begin
    new.user_id := pg_catalog.lower(new.user_id);
    return new;
end $$;

revoke all on function public.data_export_requests_spell_user() from public;

create trigger data_export_requests_spell_user before insert on public.data_export_requests
    for each row
    when (new.user_id ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')
    execute function public.data_export_requests_spell_user();
