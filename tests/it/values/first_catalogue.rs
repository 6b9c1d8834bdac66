//! A first catalogue, proposed from the tables.

use export_activities::catalogue::{self, Catalogue, FindingKind, Link, Use};

use super::catalogue::{reference, write};
use crate::support::{
    database::{database, run},
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
    // The head and the patterns are the same in every file.
    let shape = |text: &str| {
        let (keys, rest) = text.split_once("\n# Decisions").unwrap();
        let (_, rest) = rest.split_once("use = \"export\"\n").unwrap();
        let lines = keys.lines().chain(rest.lines()).filter(|line| !line.contains("= { type"));
        lines.skip_while(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(shape(&text), @r#"
[keys.account]
query = '''select $1::uuid as key'''

# Nothing leads from these to the account. `*` matches any text.
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
    insta::assert_snapshot!(format!("{slow:?}"), @r#"[(NoIndex, "public.features"), (NoIndex, "public.pipeline_runs"), (NoIndex, "public.project_members"), (NoIndex, "public.releases"), (NoIndex, "public.comments")]"#);
    // A project belongs to its members: so does everything in it.
    let hubs = ["public.projects".to_owned()];
    let text = catalogue::follow_foreign_keys(&mut connection, account, &hubs, &[]).await.unwrap();
    insta::assert_snapshot!(shape(&text), @r#"
[keys.account]
query = '''select $1::uuid as key'''

[keys.projects]
key = ["project_id"]
query = '''select "project_id" from "public"."project_members" where ("user_id") in (select $1::uuid)'''
reads = { "public.project_members" = ["project_id", "user_id"] }

# Nothing leads from these to the account. `*` matches any text.
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
async fn a_secret_and_another_persons_id_order_nothing() {
    let (database, _) = reference().await;
    run(
        &database.owner,
        "create table public.links (access_token text primary key, owner_id uuid not null references public.users);
         create table public.visits (
            id bigint primary key, owner_id uuid not null references public.users, session_token text, at timestamptz);
         create index on public.visits (owner_id, session_token, at)",
    )
    .await;
    let source = database.source();
    let mut connection = source.acquire().await.unwrap();
    let text = catalogue::follow_foreign_keys(&mut connection, "public.users", &[], &[]).await.unwrap();
    let order = |entity: &str| {
        let (_, section) = text.split_once(&format!("[entity.{entity}]\n")).unwrap();
        section.lines().find_map(|line| line.strip_prefix("order    = ")).unwrap().to_owned()
    };
    assert_eq!(order("links"), r#"["UNDECIDED"]"#);
    assert_eq!(order("visits"), r#"["at", "id"]"#);
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
    assert!(error.contains("`entity.users.columns.email.use`: is still UNDECIDED"), "{error}");
    assert!(error.contains("`entity.users.columns.bio.use`: is still"), "all at once: {error}");
    assert!(error.contains("`entity.users.keys`: is still UNDECIDED"), "{error}");

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

#[tokio::test]
async fn foreign_keys_are_followed_into_every_schema_and_no_value_is_decided_by_its_place() {
    let database = database().await;
    run(
        &database.owner,
        "create schema login; create schema app; create schema elsewhere;
         create table login.users (id uuid primary key, nonce text);
         create table login.attempts (id bigint primary key, at timestamptz);
         create table app.profiles (id uuid primary key references login.users, name text);
         create table app.invitations (
             id bigint primary key, profile_id uuid references app.profiles, email text, token_owner uuid references login.users);
         create index on app.invitations (profile_id, email);
         create table elsewhere.unrelated (id bigint primary key)",
    )
    .await;
    let source = database.source();
    let mut connection = source.acquire().await.unwrap();
    let text = catalogue::follow_foreign_keys(&mut connection, "login.users", &[], &[]).await.unwrap();
    let shown: Vec<_> = text
        .lines()
        .skip_while(|line| !line.starts_with("[left_out]"))
        .filter(|line| !line.is_empty())
        .collect();
    // Another person's mail address stands in the proposed order, and is nobody's decision yet. An owner whose name is
    // that of a secret is not exported by its place either.
    insta::assert_snapshot!(shown.join("\n"), @r#"
[left_out]
"login.attempts" = "UNDECIDED"
[entity.users]
relation = "login.users"
keys     = "account"
by       = "id"
order    = ["id"]
[entity.users.columns]
id    = { type = "uuid" }
nonce = { type = "text" }
[entity.invitations]
relation = "app.invitations"
keys     = "account"
by       = "token_owner"
order    = ["id"]
[entity.invitations.columns]
id          = { type = "bigint" }
profile_id  = { type = "uuid", use = "UNDECIDED" }
email       = { type = "text", use = "UNDECIDED" }
token_owner = { type = "uuid" }
[entity.profiles]
relation = "app.profiles"
keys     = "account"
by       = "id"
order    = ["id"]
[entity.profiles.columns]
id   = { type = "uuid" }
name = { type = "text", use = "UNDECIDED" }
"#);

    // With a catalogue of the account's schema alone, the tables of the others are named.
    let folder = tempfile::tempdir().unwrap();
    let alone = r#"
        [keys.account]
        query = "select $1::uuid as key"
        [left_out]
        "login.attempts" = "Of the servers."
        [entity.users]
        relation = "login.users"
        keys = "account"
        by = "id"
        order = ["id"]
        columns.id = { type = "uuid", use = "export" }
        columns.nonce = { type = "text", use = "omit", why = "Security." }
    "#;
    write(folder.path(), alone);
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(&database.owner, catalogue.grants()).await;
    let report = catalogue.report(&mut connection).await.unwrap();
    let found: Vec<_> =
        report.findings.iter().map(|finding| (finding.kind, finding.relation.as_str())).collect();
    let unlisted = FindingKind::UnlistedRelation;
    assert_eq!(found, [(unlisted, "app.invitations"), (unlisted, "app.profiles")]);
}
