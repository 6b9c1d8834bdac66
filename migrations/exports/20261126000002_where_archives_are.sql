-- The database knows where archives are. Without that, a command in a shell with another bucket finds nothing to delete
-- there, calls the archive deleted, and leaves its link alive.
--
-- A location is the address of a bucket as the worker reaches it, such as `http://127.0.0.1:7070/exports` or
-- `s3://exports` for AWS. It holds no credential.

alter table public.data_export_installation add column location text;

comment on column public.data_export_installation.location is 'The bucket of new archives, as the worker reaches it; null until a worker has found its mark there';

alter table public.data_export_requests add column object_location text;

comment on column public.data_export_requests.object_location is 'The bucket that holds the archive; null on rows of the release before, whose archives are in the installation''s bucket';

-- A function instead of a right to update the table: a worker may record the first location, and nothing else.
create function public.data_export_record_location(location text) returns void
language sql security definer set search_path = '' as $$
    update public.data_export_installation i set location = $1 where i.location is null;
$$;

revoke all on function public.data_export_record_location(text) from public;

-- Moves the installation to another bucket. Archives that are still stored stay where they are, and their rows say so.
-- With `same` the bucket is the same one under another address, so the archives move along.
create function public.data_export_move_location(before text, after text, same boolean) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
    stored bigint;
begin
    update public.data_export_installation i set location = after where i.location = before;
    if not found then
        raise exception 'the location of this installation is not %', before
            using errcode = 'check_violation', constraint = 'data_export_installation_location';
    end if;
    update public.data_export_requests r
    set object_location = case when same then after else before end
    where r.object_key is not null and r.object_deleted_at is null and coalesce(r.object_location, before) = before;
    get diagnostics stored = row_count;
    return stored;
end $$;

revoke all on function public.data_export_move_location(text, text, boolean) from public;
