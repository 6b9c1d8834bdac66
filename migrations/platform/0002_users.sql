-- The accounts. A closed account is soft-deleted first and removed later.

create table public.users (
    id uuid primary key default gen_random_uuid(),
    email public.email_address not null,
    password_hash text not null,
    api_token text unique,
    totp_secret bytea,
    full_name text not null,
    display_name text,
    bio text,
    job_title character varying(120),
    locale character varying(35) not null default 'en',
    time_zone text not null default 'UTC',
    status public.account_status not null default 'active',
    plan public.plan_tier not null default 'free',
    credit_balance public.money_amount not null default 0,
    reputation real,
    date_of_birth date,
    digest_at time without time zone,
    session_timeout interval not null default '30 days',
    preferences jsonb not null default '{}',
    topics text[] not null default '{}',
    last_login_ip inet,
    avatar bytea,
    marketing_consent boolean,
    login_count integer not null default 0,
    invited_by uuid references public.users (id) on delete set null,
    email_verified_at timestamp with time zone,
    last_login_at timestamp with time zone,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    deleted_at timestamp with time zone
);

create unique index users_email on public.users (lower(email)) where deleted_at is null;
create index users_invited_by on public.users (invited_by);
