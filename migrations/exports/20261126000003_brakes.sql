-- A pass that would do too much at once does nothing and waits for a person. Its log line is gone by the morning, so the
-- database remembers it: `status` and the metrics read it here until a later pass goes through.

create table public.data_export_brakes (
    brake text primary key check (brake ~ '^[a-z_]+$'),
    since timestamptz not null default now(),
    hit bigint not null check (hit >= 0),
    total bigint not null check (total >= 0)
);

comment on table public.data_export_brakes is 'Passes that would have done too much at once and wait for a person';
comment on column public.data_export_brakes.brake is 'Which: accounts_gone or sweep';
comment on column public.data_export_brakes.since is 'When it held first';
comment on column public.data_export_brakes.hit is 'How many it would have hit, at the last look';
comment on column public.data_export_brakes.total is 'Of how many';
