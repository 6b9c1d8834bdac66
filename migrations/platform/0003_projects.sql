-- Projects are shared: one owner, any number of members. Nobody is ever removed from a project's history:
-- who leaves gets `left_at`, and may join again.

create table public.projects (
    id uuid primary key default gen_random_uuid(),
    owner_id uuid not null references public.users (id) on delete cascade,
    slug public.slug not null,
    name text not null,
    description text,
    visibility public.project_visibility not null default 'private',
    default_branch text not null default 'main',
    repository_url text,
    deploy_key text,
    webhook_secret text,
    tags text[] not null default '{}',
    settings jsonb not null default '{}',
    allowed_networks cidr[] not null default '{}',
    monthly_budget numeric(12, 2),
    currency character(3) not null default 'EUR',
    storage_bytes bigint not null default 0,
    archived_at timestamp with time zone,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    deleted_at timestamp with time zone
);

create index projects_owner on public.projects (owner_id);
create unique index projects_slug on public.projects (slug) where deleted_at is null;

create table public.project_members (
    project_id uuid not null references public.projects (id) on delete cascade,
    user_id uuid not null references public.users (id) on delete cascade,
    role public.member_role not null default 'developer',
    joined_at timestamp with time zone not null default now(),
    left_at timestamp with time zone,
    primary key (project_id, user_id, joined_at),
    check (left_at >= joined_at)
);

create unique index project_members_current on public.project_members (project_id, user_id) where left_at is null;
create index project_members_user on public.project_members (user_id) where left_at is null;
