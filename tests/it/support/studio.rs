//! A platform whose rows have times and filters of every type, and references; each test gets its own copy.

use std::{path::Path, sync::Arc};

use export_activities::{
    catalogue::Catalogue,
    context::ExportSteps,
    requests::operate,
    scope::Scope,
    serialise::formats::{FormatName, Formats},
};
use export_stack::servers::postgres::Role;
use export_workflows::contract::Outcome;
use sqlx::PgPool;
use tempfile::TempDir;

use super::{
    database::run,
    installation_of::{self as given, Given, attempt, download, serve},
};

/// Rows of a year, at the limits of days and in types of every kind that has a time or a filter.
const PLATFORM: &str = "
    create extension citext;
    create schema studio;
    create type studio.state as enum ('open', 'done', 'it''s \"odd\"');
    create domain studio.day as date;
    create table studio.people (id bigint primary key, name text not null);
    create table studio.boards (id integer primary key, owner_id bigint not null references studio.people);
    create table studio.cards (
        id bigint primary key, board_id integer not null references studio.boards, state studio.state, size smallint,
        is_done boolean, label citext, made_at timestamptz);
    -- No index gives its order.
    create table studio.diary (id uuid primary key default gen_random_uuid(), person_id bigint not null, day studio.day);
    create table studio.logins (id bigint primary key, person_id bigint not null, device varchar(20), at timestamp);
    create table studio.notes (id bigint primary key, card_id bigint not null references studio.cards, text text not null);
    insert into studio.people select n, 'person ' || n from generate_series(1, 3) n;
    insert into studio.boards select n, 1 + n % 3 from generate_series(1, 12) n;
    insert into studio.cards
    select n, 1 + n % 12, (array['open', 'done', 'it''s \"odd\"', null])[1 + n / 12 % 4]::studio.state,
        nullif(n / 12 % 6, 5), case n / 12 % 3 when 0 then null else n / 12 % 3 = 1 end,
        (array['Red', 'red', '', 'größe', null])[1 + n / 12 % 5],
        case n when 5 then 'infinity' when 6 then '-infinity' when 7 then '0044-03-15 BC' when 8 then '10000-01-01'
            else nullif(timestamptz '2026-01-01Z' + n * interval '6 hours' - case n % 4 when 1 then interval '1 us' else '0' end,
                timestamptz '2026-01-10Z') end
    from generate_series(1, 1200) n;
    insert into studio.diary (person_id, day)
    select 1 + n % 3, case n when 4 then 'infinity' when 5 then '0001-01-01 BC' when 6 then null
        else date '2026-01-01' + n / 3 end
    from generate_series(1, 1000) n;
    insert into studio.logins
    select n, 1 + n % 3, (array['phone', 'Phone', 'desk top', null])[1 + n / 3 % 4], timestamp '2026-01-01' + n * interval '3 hours'
    from generate_series(1, 2400) n;
    insert into studio.notes select n, 1 + n % 1200, 'note ' || n from generate_series(1, 600) n;
    create index on studio.boards (owner_id, id);
    create index on studio.cards (board_id, made_at, id);
    create index on studio.diary (person_id);
    create index on studio.logins (person_id, id);
    create index on studio.notes (card_id, id);
    alter schema studio owner to export_owner;
";

pub(crate) const CATALOGUE: &str = r#"
[keys.account]
query = "select $1::bigint as key"
[keys.boards]
query = "select id as key from studio.boards where owner_id = $1::bigint"
reads = { "studio.boards" = ["id", "owner_id"] }
[keys.cards]
query = "select c.id as key from studio.cards c join studio.boards b on b.id = c.board_id where b.owner_id = $1::bigint"

[entity.people]
relation = "studio.people"
keys = "account"
by = "id"
order = ["id"]
[entity.people.columns]
id = { type = "bigint", use = "export" }
name = { type = "text", use = "export" }

[entity.logins]
relation = "studio.logins"
keys = "account"
by = "person_id"
order = ["id"]
time = "at"
filter = "device"
references = { person_id = "people" }
[entity.logins.columns]
id = { type = "bigint", use = "export" }
person_id = { type = "bigint", use = "export" }
device = { type = "character varying(20)", use = "export" }
at = { type = "timestamp without time zone", use = "export" }

[entity.cards]
relation = "studio.cards"
keys = "boards"
by = "board_id"
order = ["made_at", "id"]
time = "made_at"
filter = ["state", "size", "is_done", "label"]
references = { board_id = "boards" }
[entity.cards.columns]
id = { type = "bigint", use = "export" }
board_id = { type = "integer", use = "export" }
state = { type = "studio.state", use = "export" }
size = { type = "smallint", use = "export" }
is_done = { type = "boolean", use = "export" }
label = { type = "public.citext", use = "export" }
made_at = { type = "timestamp with time zone", use = "export" }

[entity.boards]
relation = "studio.boards"
keys = "boards"
by = "id"
order = ["id"]
[entity.boards.columns]
id = { type = "integer", use = "export" }
owner_id = { type = "bigint", use = "export" }

[entity.diary]
relation = "studio.diary"
keys = "account"
by = "person_id"
order = ["day", "id"]
time = "day"
[entity.diary.columns]
id = { type = "uuid", use = "export" }
person_id = { type = "bigint", use = "export" }
day = { type = "studio.day", use = "export" }

[entity.notes]
relation = "studio.notes"
keys = "cards"
by = "card_id"
order = ["id"]
[entity.notes.columns]
id = { type = "bigint", use = "export" }
card_id = { type = "bigint", use = "export" }
text = { type = "text", use = "export" }
"#;

/// Makes the platform, and an installation that exports it.
pub(crate) async fn studio() -> (Given, ExportSteps, TempDir) {
    let given = given::installation().await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    run(&superuser, PLATFORM).await;
    run(&superuser, "grant usage on schema public to export_read").await;
    let folder = tempfile::tempdir().unwrap();
    let catalogue = load(folder.path(), CATALOGUE);
    run(&superuser, catalogue.grants()).await;
    let mut steps = given.steps.clone();
    let report = catalogue.report(&mut steps.source.acquire().await.unwrap()).await.unwrap();
    assert!(report.findings.is_empty(), "{report:#?}");
    steps.catalogue = Arc::new(catalogue);
    (given, steps, folder)
}

/// Reads the text of a catalogue, by way of a folder.
pub(crate) fn load(folder: &Path, text: &str) -> Catalogue {
    std::fs::write(folder.join("catalogue.toml"), text).unwrap();
    Catalogue::load(folder).unwrap()
}

pub(crate) fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Serves a request of a user, with a workbook, and returns its archive.
pub(crate) async fn archive(steps: &ExportSteps, owner: &PgPool, user: i64, scope: &Scope) -> Vec<u8> {
    let user = user.to_string().parse().unwrap();
    let formats = Formats::with([FormatName::Xlsx]);
    let request = operate::create(&steps.state, &user, scope, &formats).await.unwrap();
    let outcome = serve(steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { .. }), "{outcome:?} {scope}");
    download(owner, request).await
}
