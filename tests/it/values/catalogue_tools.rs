//! The tools that write a catalogue: a first one, and the one after a release of the platform.

use std::path::Path;

use export_activities::catalogue::{self, Catalogue, FindingKind, Link, Use};

use super::catalogue::{reference, run, write};
use crate::support::{
    database::{Database, database},
    sample::decided,
};

#[tokio::test]
async fn foreign_keys_say_whose_rows_a_table_has() {
    let (database, _) = reference().await;
    run(
        &database.owner,
        "create table public.comments (
            id bigint primary key, subject_type text not null, subject_id uuid not null, body text);
         create index on public.pipeline_runs (project_id, finished_at);
         create table public.countries (code text)",
    )
    .await;
    let source = database.source();
    let mut connection = source.acquire().await.unwrap();
    let account = "public.users";
    let text = catalogue::follow_foreign_keys(&mut connection, account, &[], &[]).await.unwrap();
    let shape =
        |text: &str| text.lines().filter(|line| !line.contains("= { type")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(shape(&text), @r#"
# Written by `export-worker catalogue init`. Every column without `use` and every UNDECIDED is a decision of yours. Until
# the last one is made the file is refused. Read the decisions that were made for you, too. docs/CATALOGUE.md explains
# the file.

[keys.account]
query = '''select $1::uuid as key'''

# Decisions by name. `*` stands for any text, in any case; the first pattern that fits counts; a column's own `use` wins.
[[defaults]]
columns = ["*passw*", "*passphrase*", "*secret*", "*token*", "*api_key*", "*apikey*", "*access_key*", "*private_key*",
    "*signing_key*", "*encrypt*", "*credential*", "*otp_*", "*_otp*", "*salt*", "*recovery*code*", "*backup*code*"]
use = "omit"
why = "Security: a secret."
[[defaults]]
columns = ["id", "*_at"]
use = "export"
# When you have read every column below, this exports all that are still undecided, and no column that comes later:
# [[defaults]]
# columns = ["*"]
# use = "export"

# Nothing leads from these to the account. `*` stands for any text.
[left_out]
"public.countries" = "UNDECIDED"

# `invited_by` holds ids of users, too: pseudonyms, unless these rows are theirs.
[entity.users]
relation = "public.users"
keys     = "account"
by       = "id"
order    = ["id"]
[entity.users.columns]

# `assignee_id` holds ids of users, too: pseudonyms, unless these rows are theirs.
[entity.features]
relation = "public.features"
keys     = "account"
by       = "author_id"
order    = ["id"]
[entity.features.columns]

[entity.pipeline_runs]
relation = "public.pipeline_runs"
keys     = "account"
by       = "started_by"
order    = ["id"]
[entity.pipeline_runs.columns]

[entity.project_members]
relation = "public.project_members"
keys     = "account"
by       = "user_id"
order    = ["project_id", "user_id", "joined_at"]
[entity.project_members.columns]

[entity.projects]
relation = "public.projects"
keys     = "account"
by       = "owner_id"
order    = ["id"]
[entity.projects.columns]

[entity.releases]
relation = "public.releases"
keys     = "account"
by       = "released_by"
order    = ["id"]
[entity.releases.columns]

[entity.comments]
relation = "public.comments"
keys     = "account"
by       = "subject_id"
where    = { subject_type = "UNDECIDED" }
order    = ["id"]
[entity.comments.columns]
"#);
    let decided = decided(&text)
        .replace("subject_type = \"UNDECIDED\"", "subject_type = \"User\"")
        .replace("\"UNDECIDED\"", "\"Decided.\"");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &decided);
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(&database.owner, catalogue.grants()).await;
    let report = catalogue.report(&mut connection).await.unwrap();
    let slow: Vec<_> =
        report.findings.iter().map(|finding| (finding.kind, finding.relation.as_str())).collect();
    insta::assert_snapshot!(format!("{slow:?}"), @r#"[(NoIndex, "public.features"), (NoIndex, "public.pipeline_runs"), (NoIndex, "public.releases"), (NoIndex, "public.comments")]"#);
    // A project belongs to its members: so does everything in it.
    let hubs = ["public.projects".to_owned()];
    let text = catalogue::follow_foreign_keys(&mut connection, account, &hubs, &[]).await.unwrap();
    insta::assert_snapshot!(shape(&text), @r#"
# Written by `export-worker catalogue init`. Every column without `use` and every UNDECIDED is a decision of yours. Until
# the last one is made the file is refused. Read the decisions that were made for you, too. docs/CATALOGUE.md explains
# the file.

[keys.account]
query = '''select $1::uuid as key'''

[keys.projects]
key = ["project_id"]
query = '''select "project_id" from "public"."project_members" where ("user_id") in (select $1::uuid)'''
reads = { "public.project_members" = ["project_id", "user_id"] }

# Decisions by name. `*` stands for any text, in any case; the first pattern that fits counts; a column's own `use` wins.
[[defaults]]
columns = ["*passw*", "*passphrase*", "*secret*", "*token*", "*api_key*", "*apikey*", "*access_key*", "*private_key*",
    "*signing_key*", "*encrypt*", "*credential*", "*otp_*", "*_otp*", "*salt*", "*recovery*code*", "*backup*code*"]
use = "omit"
why = "Security: a secret."
[[defaults]]
columns = ["id", "*_at"]
use = "export"
# When you have read every column below, this exports all that are still undecided, and no column that comes later:
# [[defaults]]
# columns = ["*"]
# use = "export"

# Nothing leads from these to the account. `*` stands for any text.
[left_out]
"public.countries" = "UNDECIDED"

# `invited_by` holds ids of users, too: pseudonyms, unless these rows are theirs.
[entity.users]
relation = "public.users"
keys     = "account"
by       = "id"
order    = ["id"]
[entity.users.columns]

# `owner_id` holds ids of users, too: pseudonyms, unless these rows are theirs.
[entity.projects]
relation = "public.projects"
keys     = "projects"
by       = "id"
order    = ["id"]
[entity.projects.columns]

[entity.project_members]
relation = "public.project_members"
keys     = "account"
by       = "user_id"
order    = ["project_id", "user_id", "joined_at"]
[entity.project_members.columns]

# `assignee_id` holds ids of users, too: pseudonyms, unless these rows are theirs.
# `author_id` holds ids of users, too: pseudonyms, unless these rows are theirs.
[entity.features]
relation = "public.features"
keys     = "projects"
by       = "project_id"
order    = ["number", "id"]
[entity.features.columns]

# `started_by` holds ids of users, too: pseudonyms, unless these rows are theirs.
[entity.pipeline_runs]
relation = "public.pipeline_runs"
keys     = "projects"
by       = "project_id"
order    = ["created_at", "id"]
[entity.pipeline_runs.columns]

# `released_by` holds ids of users, too: pseudonyms, unless these rows are theirs.
[entity.releases]
relation = "public.releases"
keys     = "projects"
by       = "project_id"
order    = ["version", "id"]
[entity.releases.columns]

[entity.comments]
relation = "public.comments"
keys     = "account"
by       = "subject_id"
where    = { subject_type = "UNDECIDED" }
order    = ["id"]
[entity.comments.columns]
"#);
    let hubs = ["public.countries".to_owned()];
    let error = catalogue::follow_foreign_keys(&mut connection, account, &hubs, &[]).await.unwrap_err();
    assert!(error.to_string().contains("no table has foreign keys to both"), "{error}");
}

#[tokio::test]
async fn a_first_catalogue_is_refused_until_each_decision_is_made() {
    let (database, _) = reference().await;
    run(&database.owner, "comment on column users.bio is 'Says \"who\" you are: c:\\temp, é'").await;
    let source = database.source();
    let mut connection = source.acquire().await.unwrap();
    let relations = ["public.users".to_owned(), "public.pipeline_runs".to_owned()];
    let text = catalogue::init(&mut connection, &relations).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &text);
    let error = format!("{:#}", Catalogue::load(folder.path()).unwrap_err());
    assert!(error.contains("catalogue.toml:"), "{error}");
    assert!(error.contains("`entity.users.columns.email`: is undecided: give it `use`"), "{error}");
    assert!(error.contains("`entity.users.columns.bio`: is undecided"), "all at once: {error}");

    // Each decision alone still leaves the others.
    let mut decided = decided(&text);
    write(folder.path(), &decided);
    assert!(format!("{:#}", Catalogue::load(folder.path()).unwrap_err()).contains("UNDECIDED"));
    decided = decided.replace("keys     = \"UNDECIDED\"", "keys     = \"account\"");
    write(folder.path(), &decided);
    assert!(format!("{:#}", Catalogue::load(folder.path()).unwrap_err()).contains("UNDECIDED"));
    decided = decided.replacen("by       = \"UNDECIDED\"", "by       = \"id\"", 1);
    decided = decided.replacen("by       = \"UNDECIDED\"", "by       = \"started_by\"", 1);
    write(folder.path(), &decided);
    let catalogue = Catalogue::load(folder.path()).unwrap();
    // What follows from a name is decided.
    let secret =
        catalogue.entities()[0].columns.iter().find(|column| column.name == "password_hash").unwrap();
    assert_eq!((secret.use_, secret.why.as_deref()), (Use::Omit, Some("Security: a secret.")));
    assert_eq!(
        catalogue.entities()[0].columns[7].about.as_deref(),
        Some("Says \"who\" you are: c:\\temp, é")
    );
    let report = catalogue.report(&mut connection).await.unwrap();
    let kinds: Vec<_> =
        report.findings.iter().map(|finding| (finding.kind, finding.relation.as_str())).collect();
    let (lacking, unlisted) = (FindingKind::NoRight, FindingKind::UnlistedRelation);
    assert_eq!(
        kinds,
        [
            (lacking, "public.pipeline_runs"),
            (unlisted, "public.features"),
            (unlisted, "public.project_members"),
            (unlisted, "public.projects"),
            (unlisted, "public.releases"),
        ]
    );
    run(&database.owner, catalogue.grants()).await;
    let left_out = r#"
        [left_out]
        "public.project*" = "Of the organization."
        "public.*ea*s" = "Not asked for."
    "#;
    write(folder.path(), &(decided + left_out));
    let catalogue = Catalogue::load(folder.path()).unwrap();
    let report = catalogue.report(&mut connection).await.unwrap();
    assert!(report.is_clean(), "{report:?}");

    let missing = catalogue::init(&mut connection, &["public.nothing".to_owned()]).await.unwrap_err();
    assert!(missing.to_string().contains("`public.nothing`"), "{missing}");
}

#[tokio::test]
async fn without_foreign_keys_the_columns_of_ids_are_named_by_hand() {
    let (database, _) = reference().await;
    run(
        &database.owner,
        "create table public.teams (id text primary key, name text);
         create table public.teammembers (teamid text, userid uuid, roles text, primary key (teamid, userid));
         create table public.posts (id text primary key, teamid text, userid uuid, message text);
         create table public.pins (id text primary key, postid text)",
    )
    .await;
    let links = ["userid=public.users", "teamid=public.teams", "postid=public.posts"];
    let links = links.map(|link| link.parse::<Link>().unwrap());
    let source = database.source();
    let mut connection = source.acquire().await.unwrap();
    let hubs = ["public.teams".to_owned()];
    let follow = catalogue::follow_foreign_keys(&mut connection, "public.users", &hubs, &links);
    let text = follow.await.unwrap();
    let of = |entity: &str| {
        let (_, section) = text.split_once(&format!("[entity.{entity}]\n")).unwrap();
        section.lines().take(3).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(of("posts"), r#"relation = "public.posts"; keys     = "teams"; by       = "teamid""#);
    assert_eq!(of("pins"), r#"relation = "public.pins"; keys     = "posts"; by       = "postid""#);
    assert_eq!(
        of("teammembers"),
        r#"relation = "public.teammembers"; keys     = "account"; by       = "userid""#
    );
    // An id that means something only beside a type: neither the table nor what hangs on it is anybody's without it.
    run(
        &database.owner,
        "create table public.notes (id bigint primary key, author_type text, author_id uuid);
         create table public.note_files (id bigint primary key, note_id bigint references public.notes)",
    )
    .await;
    let links = ["author_id=public.users".parse().unwrap()];
    let text = catalogue::follow_foreign_keys(&mut connection, "public.users", &[], &links).await.unwrap();
    assert!(text.contains("where    = { author_type = \"UNDECIDED\" }"), "{text}");
    let (_, keys) = text.split_once("[keys.notes]").unwrap();
    assert!(keys.contains("and \"author_type\" = 'UNDECIDED'"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &text);
    let refused = format!("{:#}", Catalogue::load(folder.path()).unwrap_err());
    assert!(refused.contains("`keys.notes.query`: has an UNDECIDED in it"), "{refused}");

    let bad = ["userid=public.nothing".parse().unwrap()];
    let error = catalogue::follow_foreign_keys(&mut connection, "public.users", &[], &bad).await.unwrap_err();
    assert!(error.to_string().contains("there is no table `public.nothing`"), "{error}");
    let bad = ["nope=public.users".parse().unwrap()];
    let error = catalogue::follow_foreign_keys(&mut connection, "public.users", &[], &bad).await.unwrap_err();
    assert_eq!(error.to_string(), "no table has a column `nope`");
}

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
table `app.wishes` is new: it has rows of `keys.projects`
table `app.grants` is new: it has rows of `keys.wishes`
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

[entity.wishes]
relation = "app.wishes"
keys     = "projects"
by       = "project_id"
order    = ["id"]
[entity.wishes.columns]
id         = { type = "bigint", use = "export" }
project_id = { type = "bigint", use = "export" }
wish       = { type = "text" }

[entity.grants]
relation = "app.grants"
keys     = "wishes"
by       = "wish_id"
order    = ["id"]
[entity.grants.columns]
id      = { type = "bigint", use = "export" }
wish_id = { type = "bigint", use = "export" }
at_once = { type = "boolean" }
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
    let all = "[[defaults]]\ncolumns = [\"*\"]\nuse = \"export\"\n\n[left_out]";
    let decided =
        changed.text.replacen("[left_out]", all, 1).replace("use = \"UNDECIDED\"", "use = \"export\"");
    let decided = decided.replace("\"UNDECIDED\"", "\"Decided.\"");
    write(folder.path(), &decided);
    // `*` alone decides no column that comes later.
    run(&database.owner, "alter table app.users add later text").await;
    let later = update(&database, folder.path()).await;
    assert!(later.text.contains("later = { type = \"text\", use = \"UNDECIDED\" }"), "{}", later.text);
    run(&database.owner, "alter table app.users drop later").await;
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(&database.owner, catalogue.grants()).await;
    let report = catalogue.report(&mut database.source().acquire().await.unwrap()).await.unwrap();
    let stops: Vec<_> =
        report.findings.iter().filter(|finding| finding.kind != FindingKind::NoIndex).collect();
    assert!(stops.is_empty(), "{stops:?}");
}
