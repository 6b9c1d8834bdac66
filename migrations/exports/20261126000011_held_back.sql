-- One mistake must not fail a whole queue: when many requests of a night would fail for the same reason, the rest is held
-- back and stays pending until a person has looked. The row says for which reason, so that `status` and an alert do.
-- Likewise a request that a fault of the system defers night after night: the row counts the nights.

alter table public.data_export_requests
    add column held_back text check (held_back in ('account_deleted', 'unreadable_value', 'attempts_exhausted')),
    add column deferred_nights integer not null default 0 check (deferred_nights >= 0),
    add column deferred_night date;

comment on column public.data_export_requests.held_back is 'The reason for which the request would have failed, had not too many of its night; a pending row with it waits for a person';
comment on column public.data_export_requests.deferred_nights is 'In how many nights a fault of the system left the request pending';
comment on column public.data_export_requests.deferred_night is 'The last of those nights (UTC date)';

-- Each failure of a night counts the others of its reason before it is written.
create index data_export_events_failed_in_night on public.data_export_events (night, reason)
    where kind = 'failed' and night is not null;
create index data_export_requests_held_back on public.data_export_requests (held_back)
    where status = 'pending' and held_back is not null;
create index data_export_requests_deferred on public.data_export_requests (deferred_nights)
    where status = 'pending' and deferred_nights > 1;
