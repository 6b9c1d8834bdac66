//! The catalogue after a release of the platform: every decision stays, and what is new is left to a person.

use std::path::Path;

use export_activities::catalogue::{self, Catalogue, FindingKind};

use super::catalogue::write;
use crate::support::database::{Database, database, run};

const APP: &str = "
    create schema app;
    create table app.users (
        id integer primary key, display_name text, bio text, email text, plan varchar(20), settings jsonb,
        invited_by integer references app.users, password_hash text
    );
    create table app.projects (id bigint primary key, owner_id integer references app.users, title text);
    create table app.features (id bigint primary key, project_id bigint references app.projects, title text);
    create table app.badges (id bigint primary key, owner_id integer references app.users);
    create table app.job_runs (id bigint primary key);";

/// A catalogue as people keep it: comments, decisions and an order of their own.
const KEPT: &str = r#"# Ours. Ask Ana before you change it.
[keys.account]
query = "select $1::integer as key"

[keys.projects]
query = "projects.sql"
reads = { "app.projects" = ["id", "owner_id"] }

[[defaults]]
columns = ["*secret*"]
use = "omit"
why = "A secret."

[left_out] # Not theirs.
"app.job_*" = "Of the servers."

[entity.users]   # The account.
relation = "app.users"
keys = "account"
by = "id"
order = ["id"]
about = "You."
[entity.users.columns]
# The name on the page.
display_name = { type = "text", use = "export", about = "Name." }
id   = { type = "integer", use = "export" } # First.
# Was asked for by Legal.
bio  = { type = "text", use = "omit", why = "Under review." }
plan = { type = "character varying(20)", use = "export" }
email = { type = "text", use = "export" }
settings = { type = "jsonb", use = "export", paths = { "ui.theme" = "omit" }, why = "Dull." }
invited_by = { type = "integer", use = "pseudonym" }
password_hash = { type = "text", use = "omit", why = "A secret." }

[entity.projects]
relation = "app.projects"
keys = "account"
by = "owner_id"
order = ["id"]
[entity.projects.columns]
id = { type = "bigint", use = "export" }
owner_id = { type = "integer", use = "export" }
title = { type = "text", use = "export" }

# Everyone sees these.
[entity.features]
relation = "app.features"
keys = "projects"
by = "project_id"
order = ["id"]
[entity.features.columns]
id = { type = "bigint", use = "export" }
project_id = { type = "bigint", use = "export" }
role = { type = "text", use = "export", computed = true }
title = { type = "text", use = "export" }

# Shown beside the name.
[entity.badges]
relation = "app.badges"
keys = "account"
by = "owner_id"
order = ["id"]
columns.id = { type = "bigint", use = "export" }
columns.owner_id = { type = "integer", use = "export" }
"#;

const QUERY: &str = "select id as key, 'owner' as role from app.projects where owner_id = $1::integer;\n";

async fn update(database: &Database, folder: &Path) -> catalogue::Update {
    catalogue::update(&mut database.source().acquire().await.unwrap(), folder, &[]).await.unwrap()
}

#[tokio::test]
async fn an_update_keeps_every_decision_and_leaves_what_is_new_to_a_person() {
    let database = database().await;
    run(&database.owner, APP).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("projects.sql"), QUERY).unwrap();
    write(folder.path(), KEPT);
    let same = update(&database, folder.path()).await;
    assert_eq!((same.text.as_str(), same.changes), (KEPT, Vec::new()));

    run(
        &database.owner,
        "alter table app.users add phone text, add totp_secret text, drop bio, drop display_name;
         comment on column app.users.phone is 'To call you.';
         alter table app.users alter plan type varchar(40);
         drop table app.badges;
         create table app.wishes (id bigint primary key, project_id bigint references app.projects, wish text);
         create table app.grants (id bigint primary key, wish_id bigint references app.wishes, at_once boolean);
         create table app.countries (code text);
         create table app.job_queue (id bigint)",
    )
    .await;
    let changed = update(&database, folder.path()).await;
    insta::assert_snapshot!(changed.changes.join("\n"), @r#"
column `app.users.plan` is of type `character varying(40)`, no longer `character varying(20)`
column `app.users.phone` is new
column `app.users.totp_secret` is new
column `app.users.display_name` is a comment now: it does not exist
column `app.users.bio` is a comment now: it does not exist
entity `badges` is a comment now: `app.badges` does not exist
table `app.wishes` is new: decide whose rows it has
table `app.grants` is new: decide whose rows it has
table `app.countries` is new: nothing leads from it to the account
"#);
    insta::assert_snapshot!(changed.text, @r#"
# Ours. Ask Ana before you change it.
[keys.account]
query = "select $1::integer as key"

[keys.projects]
query = "projects.sql"
reads = { "app.projects" = ["id", "owner_id"] }

[[defaults]]
columns = ["*secret*"]
use = "omit"
why = "A secret."

[left_out] # Not theirs.
"app.job_*" = "Of the servers."
"app.countries" = "UNDECIDED"

[entity.users]   # The account.
relation = "app.users"
keys = "account"
by = "id"
order = ["id"]
about = "You."
[entity.users.columns]
# The name on the page.
# gone: display_name = { type = "text", use = "export", about = "Name." }
id   = { type = "integer", use = "export" } # First.
# Was asked for by Legal.
# gone: bio = { type = "text", use = "omit", why = "Under review." }
plan = { type = "character varying(40)", use = "export" }
email = { type = "text", use = "export" }
settings = { type = "jsonb", use = "export", paths = { "ui.theme" = "omit" }, why = "Dull." }
invited_by = { type = "integer", use = "pseudonym" }
password_hash = { type = "text", use = "omit", why = "A secret." }
phone = { type = "text", use = "UNDECIDED", about = "To call you." }
totp_secret = { type = "text" }

[entity.projects]
relation = "app.projects"
keys = "account"
by = "owner_id"
order = ["id"]
[entity.projects.columns]
id = { type = "bigint", use = "export" }
owner_id = { type = "integer", use = "export" }
title = { type = "text", use = "export" }

# Everyone sees these.
[entity.features]
relation = "app.features"
keys = "projects"
by = "project_id"
order = ["id"]
[entity.features.columns]
id = { type = "bigint", use = "export" }
project_id = { type = "bigint", use = "export" }
role = { type = "text", use = "export", computed = true }
title = { type = "text", use = "export" }

# Gone from the database:
# # Shown beside the name.
# [entity.badges]
# relation = "app.badges"
# keys = "account"
# by = "owner_id"
# order = ["id"]
# columns.id = { type = "bigint", use = "export" }
# columns.owner_id = { type = "integer", use = "export" }

[keys.wishes]
key = ["id"]
query = '''select "id" from "app"."wishes" where ("project_id") in (select q."key" from (
select id as key, 'owner' as role from app.projects where owner_id = $1::integer
) q)'''
reads = { "app.projects" = ["id", "owner_id"], "app.wishes" = ["id", "project_id"] }

# keys = "projects", if all these rows are theirs
[entity.wishes]
relation = "app.wishes"
keys     = "UNDECIDED"
by       = "project_id"
order    = ["id"]
[entity.wishes.columns]
id         = { type = "bigint", use = "UNDECIDED" }
project_id = { type = "bigint", use = "export" }
wish       = { type = "text", use = "UNDECIDED" }

# keys = "wishes", if all these rows are theirs
[entity.grants]
relation = "app.grants"
keys     = "UNDECIDED"
by       = "wish_id"
order    = ["id"]
[entity.grants.columns]
id      = { type = "bigint", use = "UNDECIDED" }
wish_id = { type = "bigint", use = "export" }
at_once = { type = "boolean", use = "UNDECIDED" }
"#);
    write(folder.path(), &changed.text);
    let open = format!("{:#}", Catalogue::load(folder.path()).unwrap_err());
    assert!(open.contains("`entity.users.columns.phone.use`: is still UNDECIDED"), "{open}");
    assert!(!open.contains("totp_secret"), "a pattern decides it: {open}");
    let again = update(&database, folder.path()).await;
    assert_eq!(
        (again.text.as_str(), again.changes),
        (changed.text.as_str(), Vec::new()),
        "an update is done once"
    );

    // What a person then decides is all that was missing.
    let decided = changed.text.replace("use = \"UNDECIDED\"", "use = \"export\"");
    let decided = decided.replacen("keys     = \"UNDECIDED\"", "keys = \"wishes\"", 1);
    let decided = decided.replacen("keys     = \"UNDECIDED\"", "keys = \"projects\"", 1);
    write(folder.path(), &decided.replace("\"UNDECIDED\"", "\"Decided.\""));
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(&database.owner, catalogue.grants()).await;
    let report = catalogue.report(&mut database.source().acquire().await.unwrap()).await.unwrap();
    let stops: Vec<_> =
        report.findings.iter().filter(|finding| finding.kind != FindingKind::NoIndex).collect();
    assert!(stops.is_empty(), "{stops:?}");
}

#[tokio::test]
async fn no_pattern_gives_the_rows_of_a_new_table_or_what_is_new_in_an_old_one_away() {
    let database = database().await;
    run(&database.owner, APP).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("projects.sql"), QUERY).unwrap();
    let all = "[[defaults]]\ncolumns = [\"id\", \"*_id\", \"*\"]\nuse = \"export\"\n\n[left_out]";
    let kept = KEPT.replacen("[left_out]", all, 1);
    write(
        folder.path(),
        &kept.replacen("by = \"owner_id\"\n", "by = \"owner_id\"\nwhere = { title = \"Own\" }\n", 1),
    );
    Catalogue::load(folder.path()).unwrap();
    run(
        &database.owner,
        "alter table app.users add later text;
         create table app.members (id bigint primary key, project_id bigint references app.projects);
         create table app.tags (id bigint primary key, member_id bigint references app.members)",
    )
    .await;
    let changed = update(&database, folder.path()).await;
    write(folder.path(), &changed.text);
    let open = format!("{:#}", Catalogue::load(folder.path()).unwrap_err());
    insta::assert_snapshot!(open.replace(&folder.path().display().to_string(), ""), @r#"
/catalogue.toml:38: `entity.users.columns.later.use`: is still UNDECIDED: a person has to decide it
/catalogue.toml:82: `entity.members.keys`: is still UNDECIDED: a person has to decide it
/catalogue.toml:92: `entity.tags.keys`: is still UNDECIDED: a person has to decide it
"#);
    // What hangs on rows that are narrowed is narrowed, too.
    run(&database.owner, "drop table app.features; create table app.notes (id bigint primary key, project_id bigint references app.projects)").await;
    let changed = update(&database, folder.path()).await;
    assert!(changed.text.contains("and \"title\" = 'UNDECIDED'"), "{}", changed.text);
}
