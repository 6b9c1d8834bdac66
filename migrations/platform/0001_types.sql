-- The reference platform: a SaaS factory that builds and ships its customers' projects.
--
-- It exists for the demo and the tests and is never applied in production. It is meant to be as untidy as a
-- real platform: enums, domains, documents, arrays, soft deletes, and secrets beside the data.

create type public.account_status as enum ('active', 'suspended', 'closing');
create type public.plan_tier as enum ('free', 'team', 'enterprise');
create type public.project_visibility as enum ('private', 'internal', 'public');
create type public.member_role as enum ('viewer', 'developer', 'maintainer');
create type public.feature_status as enum ('idea', 'planned', 'in progress', 'shipped', 'won''t do');
create type public.run_status as enum ('queued', 'running', 'succeeded', 'failed', 'cancelled');
create type public.run_trigger as enum ('push', 'schedule', 'manual', 'api');
create type public.release_channel as enum ('nightly', 'beta', 'stable');

create domain public.email_address as text check (value ~ '^[^@[:space:]]+@[^@[:space:]]+$');
create domain public.slug as text check (value ~ '^[a-z0-9][a-z0-9_-]*$');
create domain public.money_amount as numeric(14, 4);
create domain public.commit_sha as character(40);
