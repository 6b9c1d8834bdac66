-- Notices: mails to the person who asked, and webhooks to the platform. The database writes them in the transaction that
-- changes the status, also when plain SQL changes it. The workers deliver them, also while Temporal is away.
--
-- A notice names a line of the log and holds no address, no name and no link.

create table public.data_export_channels (
    channel text primary key check (channel in ('mail', 'webhook')),
    is_on boolean not null default false,
    paused_at timestamptz,
    paused_because text check (length(paused_because) between 1 and 500),
    constraint data_export_channels_pause_has_cause check ((paused_at is null) = (paused_because is null))
);

comment on table public.data_export_channels is 'The ways in which notices go out; all are off at first';
comment on column public.data_export_channels.channel is 'mail: to the person; webhook: to the platform';
comment on column public.data_export_channels.is_on is 'Whether notices are written for it';
comment on column public.data_export_channels.paused_at is 'Since when nothing is sent, because a person has to fix something first';
comment on column public.data_export_channels.paused_because is 'The cause that a person has to fix';

insert into public.data_export_channels (channel) values ('mail'), ('webhook');

create table public.data_export_notices (
    id uuid primary key default gen_random_uuid(),
    event_id bigint not null references public.data_export_events (id) on delete cascade,
    channel text not null check (channel in ('mail', 'webhook')),
    topic text not null check (topic in ('requested', 'ready', 'reminder', 'failed', 'object_deleted')),
    state text not null default 'due' check (state in ('due', 'sent', 'dropped', 'dead')),
    first_due_at timestamptz not null default clock_timestamp(),
    due_at timestamptz not null default clock_timestamp(),
    tries integer not null default 0 check (tries >= 0),
    code text check (length(code) between 1 and 63),
    ended_at timestamptz,
    constraint data_export_notices_once unique (event_id, channel, topic),
    constraint data_export_notices_end check ((state = 'due') = (ended_at is null))
);

comment on table public.data_export_notices is 'The outbox: one row for each notice and channel; ended ones are kept for 90 days';
comment on column public.data_export_notices.id is 'The notice; a repeated delivery has the same id';
comment on column public.data_export_notices.event_id is 'The line of the log of which it tells';
comment on column public.data_export_notices.channel is 'How it goes out';
comment on column public.data_export_notices.topic is 'What it tells: the kind of the event, or reminder';
comment on column public.data_export_notices.state is 'due; sent; dropped: there was no reason to send it any more; dead: given up';
comment on column public.data_export_notices.first_due_at is 'When it was to go out at first';
comment on column public.data_export_notices.due_at is 'When it is tried next; during a try, when another worker may take it';
comment on column public.data_export_notices.tries is 'How often it was tried and answered';
comment on column public.data_export_notices.code is 'What the last try came to, such as smtp_550, http_503, unreachable or collected';
comment on column public.data_export_notices.ended_at is 'When it was sent, dropped or given up';

create index data_export_notices_due on public.data_export_notices (channel, due_at) where state = 'due';
create index data_export_notices_dead on public.data_export_notices (ended_at) where state = 'dead';
create index data_export_notices_ended on public.data_export_notices (ended_at) where state <> 'due';

-- Security definer: the platform may insert a request without any right on the outbox.
create function public.data_export_events_notify() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    insert into public.data_export_notices (event_id, channel, topic)
    select new.id, c.channel, new.kind from public.data_export_channels c
    where c.is_on
        and (c.channel = 'webhook'
            or new.kind in ('requested', 'ready')
            -- That an archive has run out, or was taken back, is no news for the person.
            or (new.kind = 'failed' and new.reason not in ('expired', 'withdrawn', 'account_deleted')));
    if new.kind = 'ready' then
        insert into public.data_export_notices (event_id, channel, topic, first_due_at, due_at)
        select new.id, c.channel, 'reminder', r.expires_at - interval '24 hours', r.expires_at - interval '24 hours'
        from public.data_export_channels c, public.data_export_requests r
        where c.is_on and c.channel = 'mail' and r.id = new.request_id;
    end if;
    return null;
end $$;

revoke all on function public.data_export_events_notify() from public;

create trigger data_export_events_notify after insert on public.data_export_events
    for each row execute function public.data_export_events_notify();
