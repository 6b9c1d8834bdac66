-- What happens in a project: planned features, pipeline runs (by far the largest table), releases.

create table public.features (
    id uuid primary key default gen_random_uuid(),
    project_id uuid not null references public.projects (id) on delete cascade,
    number integer not null,
    title text not null,
    description text,
    status public.feature_status not null default 'idea',
    previous_statuses public.feature_status[] not null default '{}',
    priority smallint not null default 0,
    estimate_days real,
    labels text[] not null default '{}',
    acceptance json,
    votes bigint not null default 0,
    author_id uuid references public.users (id) on delete set null,
    assignee_id uuid references public.users (id) on delete set null,
    reporter_email public.email_address,
    target_date date,
    reminder_at timestamp without time zone,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    deleted_at timestamp with time zone,
    unique (project_id, number)
);

create index features_project_created on public.features (project_id, created_at);
create index features_assignee on public.features (assignee_id);

create table public.pipeline_runs (
    id uuid primary key default gen_random_uuid(),
    project_id uuid not null references public.projects (id) on delete cascade,
    number bigint not null,
    branch text not null,
    commit_sha public.commit_sha,
    commit_message text,
    status public.run_status not null default 'queued',
    trigger public.run_trigger not null default 'push',
    started_by uuid references public.users (id) on delete set null,
    committer_email public.email_address,
    runner_address inet,
    steps jsonb not null default '[]',
    variables jsonb,
    log_excerpt text,
    exit_code integer,
    duration interval,
    cpu_seconds double precision,
    cost public.money_amount,
    artifact_digest bytea,
    created_at timestamp with time zone not null default now(),
    started_at timestamp with time zone,
    finished_at timestamp with time zone
);

create index pipeline_runs_project_created on public.pipeline_runs (project_id, created_at);
create index pipeline_runs_open on public.pipeline_runs (created_at) where status in ('queued', 'running');

create table public.releases (
    id uuid primary key default gen_random_uuid(),
    project_id uuid not null references public.projects (id) on delete cascade,
    version text not null,
    channel public.release_channel not null default 'stable',
    notes text,
    artifacts jsonb not null default '[]',
    download_counts bigint[] not null default '{}',
    rollout numeric,
    rollout_window tstzrange,
    size_limits int4range,
    is_latest boolean not null default false,
    checksum bytea,
    signing_secret text,
    released_by uuid references public.users (id) on delete set null,
    created_at timestamp with time zone not null default now(),
    released_at timestamp with time zone,
    yanked_at timestamp with time zone,
    unique (project_id, version)
);

create index releases_project_created on public.releases (project_id, created_at);
