//! No stranger's row is exported and none of the user's is missing, on a platform with every kind of key: numbers, keys
//! of several columns, ids that mean something only beside a type, texts that ignore case, and lengths that would cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    sync::Arc,
};

use export_activities::{catalogue::Catalogue, context::ExportSteps};
use export_workflows::contract::Outcome;
use futures::{StreamExt as _, stream};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{
    database::run,
    installation_of::{self as given, attempt, download, request, serve},
};

/// As many as `ISOLATION_USERS` says: `make isolation` takes 2,000, which is over a million cells.
fn users() -> i64 {
    std::env::var("ISOLATION_USERS").map_or(100, |users| users.parse().unwrap())
}

/// Every cell names the user that it belongs to, or another one. `{users}` is their number, and `{more}` is larger.
const PLATFORM: &str = "
    create extension citext;
    create schema shop;
    create table shop.people (
        id bigint primary key, handle citext unique not null, organization_id integer not null, number integer not null,
        code text not null, friend_ids bigint[] not null, invited_by bigint,
        unique (organization_id, number));
    -- The type decides whose id it is: user 7 and bot 7 are two.
    create table shop.messages (
        id bigint primary key, sender_type text not null, sender_id bigint not null, body text not null,
        system boolean, deleted_at timestamptz, label text, payload jsonb);
    -- Its payload names the one who was answered.
    -- A number of a customer means something only within its organization.
    create table shop.orders (
        id bigint primary key, organization_id integer not null, customer_number integer not null, note text not null);
    -- A handle is the same in any case.
    create table shop.posts (id bigint primary key, author citext not null, title text not null);
    -- A key of seven characters, cut to six, would be another user's.
    create table shop.vouchers (id bigint primary key, code varchar(6) not null, note text not null);

    insert into shop.people
    select n, case n % 3 when 0 then upper('Handle' || n) else 'handle' || n end, n % 10, n / 10,
        'c' || lpad(n::text, case when n % 2 = 0 then 5 else 6 end, '0'),
        array[n, n % {users} + 1, (n + 7) % {users} + 1], nullif(n % {users}, 0)
    from generate_series(1, {users}) n;
    insert into shop.messages
    select n, (array['User', 'Bot', 'user'])[1 + n % 3], 1 + n / 3 % {users}, 'by ' || n % 3 || ' of ' || 1 + n / 3 % {users},
        nullif(n % 7, 1) = 0, case when n % 11 = 0 then now() end, (array['spam', 'note', 'test', null])[1 + n % 4],
        jsonb_build_object('draft', n % 2 = 0, 'to', jsonb_build_array(
            jsonb_build_object('name', 'stranger ' || n % 90, 'mail', n || '@stranger', 'seen', n % 5)))
    from generate_series(1, 300 * {users}) n;
    insert into shop.orders
    select n, n % 13, n % ({users} / 10 + 1), 'customer ' || n % ({users} / 10 + 1) || ' of ' || n % 13
    from generate_series(1, 60 * {users}) n;
    insert into shop.posts
    select n, case n % 2 when 0 then upper('handle' || 1 + n % {more}) else 'Handle' || 1 + n % {more} end,
        'by ' || 1 + n % {more}
    from generate_series(1, 60 * {users}) n;
    insert into shop.vouchers
    select n, 'c' || lpad((n % {more})::text, 5, '0'), 'of code ' || n % {more} from generate_series(1, 20 * {users}) n;
    create index on shop.messages (sender_id);
    create index on shop.orders (organization_id, customer_number, id);
    create index on shop.posts (author);
    create index on shop.vouchers (code);
";

const CATALOGUE: &str = r#"
[keys.account]
query = "select $1::bigint as key"

[keys.customers]
key = ["organization", "number"]
query = "select organization_id as organization, number from shop.people where id = $1::bigint"
reads = { "shop.people" = ["id", "organization_id", "number", "handle", "code"] }

[keys.handles]
query = "select handle as key from shop.people where id = $1::bigint union all select upper(handle::text)::public.citext from shop.people where id = $1::bigint"

[keys.codes]
query = "select code as key from shop.people where id = $1::bigint"

[entity.people]
relation = "shop.people"
keys = "account"
by = "id"
order = ["id"]
about = "You."
[entity.people.columns]
id = { type = "bigint", use = "export", about = "Id." }
handle = { type = "public.citext", use = "export", about = "Handle." }
organization_id = { type = "integer", use = "export", about = "Organization." }
number = { type = "integer", use = "export", about = "Number." }
code = { type = "text", use = "export", about = "Code." }
friend_ids = { type = "bigint[]", use = "pseudonym", about = "Friends." }
invited_by = { type = "bigint", use = "pseudonym", about = "Who invited you." }

[entity.messages]
relation = "shop.messages"
keys = "account"
by = "sender_id"
where = { sender_type = ["User", "user"], system = { not = true }, deleted_at = { null = true }, label = { not = ["spam", "test"] } }
order = ["id"]
about = "Your messages."
[entity.messages.columns]
id = { type = "bigint", use = "export", about = "Id." }
sender_type = { type = "text", use = "export", about = "Kind of sender." }
sender_id = { type = "bigint", use = "export", about = "Sender." }
body = { type = "text", use = "export", about = "Text." }
system = { type = "boolean", use = "omit", why = "Never true." }
label = { type = "text", use = "export", about = "Label." }
deleted_at = { type = "timestamp with time zone", use = "omit", why = "Always empty." }
payload = { type = "jsonb", use = "export", paths = { "to.name" = "omit", "to.mail" = "omit" }, why = "Whom you answered." }

[entity.orders]
relation = "shop.orders"
keys = "customers"
by = ["organization_id", "customer_number"]
order = ["id"]
about = "Your orders."
[entity.orders.columns]
id = { type = "bigint", use = "export", about = "Id." }
organization_id = { type = "integer", use = "export", about = "Organization." }
customer_number = { type = "integer", use = "export", about = "Number." }
note = { type = "text", use = "export", about = "Note." }

[entity.posts]
relation = "shop.posts"
keys = "handles"
by = "author"
order = ["id"]
about = "Your posts."
[entity.posts.columns]
id = { type = "bigint", use = "export", about = "Id." }
author = { type = "public.citext", use = "export", about = "Author." }
title = { type = "text", use = "export", about = "Title." }

[entity.vouchers]
relation = "shop.vouchers"
keys = "codes"
by = "code"
order = ["id"]
about = "Your vouchers."
[entity.vouchers.columns]
id = { type = "bigint", use = "export", about = "Id." }
code = { type = "character varying(6)", use = "export", about = "Code." }
note = { type = "text", use = "export", about = "Note." }
"#;

/// What SQL says of user `$1`, entity by entity, in the words of the platform's own engineer.
const TRUTH: [(&str, &str); 5] = [
    ("people", "select to_jsonb(t) - 'friend_ids' - 'invited_by' from shop.people t where id = $1"),
    (
        "messages",
        "select to_jsonb(t) - 'system' - 'deleted_at' #- '{payload,to,0,name}' #- '{payload,to,0,mail}' from shop.messages t
         where sender_id = $1 and sender_type in ('User', 'user') and system is distinct from true and deleted_at is null
             and (label is null or label not in ('spam', 'test'))",
    ),
    (
        "orders",
        "select to_jsonb(t) from shop.orders t join shop.people p
         on (p.organization_id, p.number) = (t.organization_id, t.customer_number) where p.id = $1",
    ),
    (
        "posts",
        "select to_jsonb(t) from shop.posts t join shop.people p on p.handle = t.author where p.id = $1",
    ),
    (
        "vouchers",
        "select to_jsonb(t) from shop.vouchers t join shop.people p on p.code = t.code::text where p.id = $1",
    ),
];

/// Serves a user and returns the rows of each entity.
async fn export(steps: &ExportSteps, owner: &PgPool, user: &str) -> BTreeMap<String, Vec<Value>> {
    let request = request(owner, user).await;
    let outcome = serve(steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { .. }), "{outcome:?}");
    let bytes = download(owner, request).await;
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut entities = BTreeMap::new();
    for (entity, _) in TRUTH {
        let file = zip.by_name(&format!("json/{entity}.json")).unwrap();
        entities.insert(entity.to_owned(), serde_json::from_reader(file).unwrap());
    }
    entities
}

fn cells(rows: &[Value]) -> usize {
    rows.iter().map(|row| row.as_object().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "`make isolation` says how much it compared")]
async fn every_user_gets_the_rows_that_sql_says_and_no_other_whatever_the_keys_are() {
    let given = given::installation().await;
    let superuser = given.database.pool(export_stack::servers::postgres::Role::Superuser).await.unwrap();
    let users = users();
    let platform = PLATFORM.replace("{users}", &users.to_string());
    run(&superuser, platform.replace("{more}", &(users * 13 / 10).to_string())).await;
    run(&superuser, "alter schema shop owner to export_owner; grant usage on schema public to export_read")
        .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalogue.toml"), CATALOGUE).unwrap();
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(&superuser, catalogue.grants()).await;
    let mut steps = given.steps.clone();
    let report = catalogue.report(&mut steps.source.acquire().await.unwrap()).await.unwrap();
    assert!(report.findings.is_empty(), "{report:#?}");
    steps.catalogue = Arc::new(catalogue);
    // Beyond a few entities, those without rows are found by one statement. The copies have no other rows.
    let mut large = steps.clone();
    let copied = CATALOGUE.split_once("[entity.vouchers]").unwrap().1;
    let copies = (0..14).map(|n| {
        let copied = copied.replace("entity.vouchers", &format!("entity.copy_{n}"));
        format!("[entity.copy_{n}]{copied}")
    });
    let text = CATALOGUE.to_owned() + &copies.collect::<String>();
    std::fs::write(folder.path().join("catalogue.toml"), text).unwrap();
    large.catalogue = Arc::new(Catalogue::load(folder.path()).unwrap());

    let (small, large, superuser) = (&steps, &large, &superuser);
    let exported = stream::iter(1..=users).map(|user| async move {
        let steps = if user % 2 == 0 { small } else { large };
        let entities = export(steps, superuser, &user.to_string()).await;
        let mut compared = 0;
        for (entity, truth) in TRUTH {
            let expected: Vec<Value> =
                sqlx::query_scalar(truth).bind(user).fetch_all(superuser).await.unwrap();
            let mut found = entities[entity].clone();
            if entity == "people" {
                let person = found[0].as_object_mut().unwrap();
                let friends = person.remove("friend_ids").unwrap();
                let is_own = |friend: &Value| friend.as_str() == Some(&user.to_string());
                let is_hidden = |friend: &Value| friend.as_str().unwrap().starts_with("member-");
                assert!(friends.as_array().unwrap().iter().all(|friend| is_own(friend) || is_hidden(friend)));
                person.remove("invited_by");
            }
            let set = |rows: &[Value]| rows.iter().map(Value::to_string).collect::<BTreeSet<_>>();
            assert_eq!(found.len(), expected.len(), "{entity} of {user}");
            assert_eq!(set(&found), set(&expected), "{entity} of {user}");
            compared += cells(&found);
        }
        (compared, entities)
    });
    let exported: Vec<_> = exported.buffer_unordered(4).collect().await;
    let compared: usize = exported.iter().map(|(cells, _)| cells).sum();
    let strangers = |entities: &BTreeMap<String, Vec<Value>>| format!("{entities:?}").contains("stranger");
    assert!(!exported.iter().any(|(_, entities)| strangers(entities)), "a part that is left out");
    // The controls: there is much to compare, of every entity, and a user without vouchers has none of another's.
    assert!(compared > usize::try_from(500 * users).unwrap(), "{compared} cells");
    eprintln!("{users} users, {compared} cells: 0 foreign, 0 missing");
    for (entity, _) in TRUTH {
        assert!(exported.iter().any(|(_, entities)| !entities[entity].is_empty()), "{entity}");
    }
    given.assert_sound(exported.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_no_account_can_have_fails_its_own_request_alone() {
    let given = given::installation().await;
    let request: Uuid = sqlx::query_scalar(
        "insert into public.data_export_requests (user_id) values ('not a uuid') returning id",
    )
    .fetch_one(&given.owner)
    .await
    .unwrap();
    let outcome = serve(&given.steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let reason: String =
        sqlx::query_scalar("select failure_reason from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(&given.owner)
            .await
            .unwrap();
    assert_eq!(reason, "account_deleted");
}
