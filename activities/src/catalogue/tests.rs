use super::*;

pub(crate) fn parse(text: &str) -> anyhow::Result<Catalogue> {
    Catalogue::new("catalogue.toml", text, &mut |name| match name {
        "keys.sql" => Ok("select 1 as key; \n".to_owned()),
        _ => anyhow::bail!("no such file"),
    })
}

fn complaint(text: &str) -> String {
    format!("{:#}", parse(text).unwrap_err())
}

const SMALL: &str = r#"[keys.account]
query = "select $1::uuid as key"
[entity.users]
relation = "public.users"
keys = "account"
by = "id"
order = ["id"]
about = "You."
[entity.users.columns]
id = { type = "uuid", use = "export", about = "Id." }
password = { type = "text", use = "omit", why = "Secret." }
"#;

#[test]
fn the_builtin_catalogue_parses_and_keeps_the_order_of_the_file() {
    let catalogue = Catalogue::builtin().unwrap();
    let names: Vec<_> = catalogue.entities().iter().map(|entity| entity.name.as_str()).collect();
    assert_eq!(names, ["users", "projects", "features", "pipeline_runs", "releases"]);
    let columns: Vec<_> = catalogue.entities()[1].columns.iter().take(3).map(|c| c.name.as_str()).collect();
    assert_eq!(columns, ["id", "association", "owner_id"]);
    assert_eq!(catalogue.account().name, "users");
    assert_eq!(catalogue.sha256().len(), 64);
}

#[test]
fn a_small_catalogue_is_accepted() {
    assert_eq!(parse(SMALL).unwrap().entities().len(), 1);
}

#[test]
fn a_column_that_nobody_has_described_is_described_by_its_name() {
    let catalogue = parse(
        &SMALL
            .replace(", about = \"Id.\"", "")
            .replace("id = {", "last_seen_at = {")
            .replace("\"id\"", "\"last_seen_at\""),
    )
    .unwrap();
    assert_eq!(catalogue.entities()[0].columns[0].about.as_deref(), Some("Last seen at."));
}

#[test]
fn a_breaking_change_wants_a_higher_version() {
    let versioned = |version: &str, catalogue: &str| parse(&format!("{version}\n{catalogue}")).unwrap();
    let gone =
        SMALL.replace("id = { type = \"uuid\"", "uid = { type = \"uuid\"").replace("\"id\"", "\"uid\"");
    let asks = |old: &str, new: &str, changed: &str| {
        let changes = versioned(old, SMALL).changes(&versioned(new, changed));
        changes.iter().any(|change| change.place == "version" && change.is_breaking)
    };
    assert!(asks("version = 3", "version = 3", &gone) && asks("version = 3", "", &gone));
    assert!(!asks("version = 3", "version = 4", &gone), "it was raised");
    assert!(!asks("version = 3", "version = 3", &SMALL.replace("You.", "Me.")), "nothing breaks");
    assert!(!asks("", "", &gone), "without a version there is none to raise");
    assert_eq!(
        complaint(&format!("version = 0x10\n{SMALL}")),
        "catalogue.toml:1: `version`: write the number in decimal digits"
    );
}

#[test]
fn any_change_of_the_file_or_a_query_changes_the_digest() {
    let plain = parse(SMALL).unwrap();
    assert_ne!(plain.sha256(), parse(&SMALL.replace("You.", "Me.")).unwrap().sha256());
    let in_a_file = SMALL.replace("select $1::uuid as key", "keys.sql");
    assert_ne!(plain.sha256(), parse(&in_a_file).unwrap().sha256());
}

#[test]
fn every_mistake_is_named_with_file_line_and_key() {
    let cases = [
        (
            "by = \"id\"",
            "bye = \"id\"",
            "catalogue.toml:6: `entity.users.bye`: unknown key, expected one of relation, keys, by, where, order, about, columns, time, filter, references, purpose, source, recipients, retention, owner",
        ),
        ("by = \"id\"\n", "", "catalogue.toml:3: `entity.users`: `by` is missing"),
        (
            "by = \"id\"",
            "by = \"uid\"",
            "catalogue.toml:6: `entity.users.by`: `uid` is not one of the entity's columns",
        ),
        ("by = \"id\"", "by = 7", "catalogue.toml:6: `entity.users.by`: expected a text, found integer"),
        ("\"account\"", "\"projects\"", "catalogue.toml:5: `entity.users.keys`: there is no [keys.projects]"),
        (
            "[\"id\"]",
            "[]",
            "catalogue.toml:7: `entity.users.order`: is empty: without an order two exports of the same rows differ",
        ),
        (
            "[\"id\"]",
            "[\"password\"]",
            "catalogue.toml:7: `entity.users.order`: `password` is not an exported column of the entity",
        ),
        (
            "public.users",
            "users",
            "catalogue.toml:4: `entity.users.relation`: `users` is not of the form `schema.relation`",
        ),
        (
            "entity.users",
            "entity.Users",
            "catalogue.toml:3: `entity.Users`: an entity's name becomes a file name and must match ^[a-z][a-z0-9_]{0,62}$",
        ),
        (
            "use = \"export\"",
            "use = \"UNDECIDED\"",
            "catalogue.toml:10: `entity.users.columns.id.use`: is still UNDECIDED: a person has to decide it",
        ),
        (
            "use = \"export\"",
            "use = \"Export\"",
            "catalogue.toml:10: `entity.users.columns.id.use`: `Export` is none of export, pseudonym and omit",
        ),
        ("about = \"Id.\"", "about = \" \"", "catalogue.toml:10: `entity.users.columns.id.about`: is empty"),
        (
            "by = \"id\"",
            "by = \"id\"\nwhere = { id = \"UNDECIDED\" }",
            "catalogue.toml:7: `entity.users.where.id`: is still UNDECIDED: a person has to decide it",
        ),
        (
            "why =",
            "wy =",
            "catalogue.toml:11: `entity.users.columns.password.wy`: unknown key, expected one of type, use, paths, about, why, computed",
        ),
        (
            "\"text\", use = \"omit\", why = \"Secret.\"",
            "\"numeric(9,2)\", use = \"pseudonym\", about = \"?\"",
            "catalogue.toml:11: `entity.users.columns.password.use`: only a uuid, an integer, a text or an array of them can become a pseudonym, not `numeric(9,2)`",
        ),
        (
            "{ type = \"text\"",
            "{ type = \"text\", computed = \"yes\"",
            "catalogue.toml:11: `entity.users.columns.password.computed`: expected true or false, found string",
        ),
        (
            "select $1::uuid as key",
            "none.sql",
            "catalogue.toml:2: `keys.account.query`: cannot read the query: no such file",
        ),
        (
            "by = \"id\"",
            "by = [\"id\", \"password\"]",
            "catalogue.toml:6: `entity.users.by`: has 2 columns, but a key of [keys.account] has 1: key",
        ),
        (
            "by = \"id\"",
            "by = \"id\"\nwhere = { uid = 7 }",
            "catalogue.toml:7: `entity.users.where.uid`: is not one of the entity's columns",
        ),
        (
            "by = \"id\"",
            "by = \"id\"\nwhere = { id = 7.5 }",
            "catalogue.toml:7: `entity.users.where.id`: expected a text, a whole number, true or false, or a list of them, found float",
        ),
        (
            "by = \"id\"",
            "by = \"id\"\nwhere = { id = { nil = true } }",
            "catalogue.toml:7: `entity.users.where.id.nil`: unknown key, expected one of null, not",
        ),
        (
            "by = \"id\"",
            "by = \"id\"\nwhere = { id = { null = true, not = \"7\" } }",
            "catalogue.toml:7: `entity.users.where.id`: has one of `null` and `not`",
        ),
        (
            "use = \"export\", ",
            "",
            "catalogue.toml:10: `entity.users.columns.id`: is undecided: write `use`, or a pattern in [[defaults]]",
        ),
        (
            "about = \"Id.\"",
            "paths = { a = \"omit\" }, why = \"Theirs.\"",
            "catalogue.toml:10: `entity.users.columns.id.paths`: a value of type `uuid` has no parts",
        ),
        (
            "\"text\", use = \"omit\", why = \"Secret.\"",
            "\"jsonb\", use = \"omit\", why = \"Secret.\", paths = { a = \"export\" }",
            "catalogue.toml:11: `entity.users.columns.password.use`: `paths` are parts of a value that is exported: write `use = \"export\"`",
        ),
        (
            "\"text\", use = \"omit\", why = \"Secret.\"",
            "\"jsonb\", use = \"export\", paths = { a = \"omit\" }",
            "catalogue.toml:11: `entity.users.columns.password`: `why` is missing: the archive tells why parts are left out",
        ),
        (
            "\"text\", use = \"omit\", why = \"Secret.\"",
            "\"jsonb\", use = \"export\", paths = { a = \"export\", \"b.\" = \"export\" }",
            "catalogue.toml:11: `entity.users.columns.password.paths.b.`: is not a path: write names with points between them, such as `author.id`; a name with a point goes in quotes",
        ),
        (
            "[entity.users]",
            "[[defaults]]\ncolumns = \"*\"\nuse = \"omit\"\n[entity.users]",
            "catalogue.toml:3: `defaults`: `why` is missing",
        ),
        (
            "[entity.users]",
            "[[defaults]]\ncolumns = \"I*\"\nuse = \"omit\"\nwhy = \"?\"\n[entity.users]",
            "catalogue.toml:14: `entity.users.columns.id`: `i*` in [[defaults]] omits it: say in `why` what makes it different",
        ),
    ];
    for (right, wrong, expected) in cases {
        let text = SMALL.replace(right, wrong);
        assert_ne!(text, SMALL, "`{right}` is not in the catalogue");
        assert_eq!(complaint(&text), expected);
    }
}

#[test]
fn all_mistakes_are_reported_at_once_and_a_thousand_in_short() {
    let text = SMALL
        .replace("use = \"export\"", "use = \"all\"")
        .replace("why = \"Secret.\"", "")
        .replace("select $1::uuid as key", "none.sql")
        + "[entity.posts]\nrelation = \"posts\"\nkeys = \"account\"\n[entity.posts.columns]\nid = { type = \"uuid\", use = \"export\" }\n";
    insta::assert_snapshot!(complaint(&text), @r#"
catalogue.toml:2: `keys.account.query`: cannot read the query: no such file
catalogue.toml:10: `entity.users.columns.id.use`: `all` is none of export, pseudonym and omit
catalogue.toml:11: `entity.users.columns.password`: `why` is missing
catalogue.toml:13: `entity.posts.relation`: `posts` is not of the form `schema.relation`
"#);
    let columns = (0..1000).map(|column| format!("c{column} = {{ type = \"text\" }}\n")).collect::<String>();
    let complaint = complaint(&(SMALL.to_owned() + &columns));
    assert_eq!(complaint.lines().count(), 41);
    assert!(complaint.ends_with("\nand 960 more"), "{complaint}");
}

#[test]
fn the_first_pattern_that_fits_decides_and_a_decision_of_its_own_wins() {
    let text = SMALL.replace(
        "[entity.users]",
        "[[defaults]]\ncolumns = [\"*Token\", \"pass*\"]\nuse = \"omit\"\nwhy = \"A secret.\"\n\
         [[defaults]]\ncolumns = [\"*_by\"]\nuse = \"pseudonym\"\n\
         [[defaults]]\ncolumns = [\"*\"]\nuse = \"export\"\n[entity.users]",
    ) + "apiToken = { type = \"text\" }\ninvited_by = { type = \"uuid\" }\nnick = { type = \"text\" }\n\
         bonus_token = { type = \"text\", use = \"export\", why = \"A coin of the game.\" }\n";
    let catalogue = parse(&text).unwrap();
    let decided: Vec<_> = catalogue.entities[0]
        .columns
        .iter()
        .map(|column| format!("{} {:?} {}", column.name, column.use_, column.why.as_deref().unwrap_or("-")))
        .collect();
    insta::assert_snapshot!(decided.join("\n"), @r#"
id Export -
password Omit Secret.
apiToken Omit A secret.
invited_by Pseudonym -
nick Export -
bonus_token Export A coin of the game.
"#);
}

#[test]
fn a_syntax_error_is_named_with_file_and_line() {
    let complaint = complaint(&SMALL.replace("by = \"id\"", "by = id"));
    assert!(complaint.starts_with("catalogue.toml:6: "), "{complaint}");
    assert!(complaint.ends_with("in `by = id`"), "{complaint}");
}

#[test]
fn without_the_account_there_is_no_catalogue() {
    let text =
        SMALL.replace("keys = \"account\"", "keys = \"mine\"").replace("[keys.account]", "[keys.mine]");
    assert!(complaint(&text).contains("no entity has `keys = \"account\"`"), "{}", complaint(&text));
}

#[test]
fn each_key_is_read_once_in_the_order_of_its_type_and_computed_columns_follow() {
    let text = SMALL.replace(
        "[entity.users]",
        "[keys.memberships]\nkey = [\"organization\", \"member\"]\nquery = \"select 1\"\n[entity.users]",
    ) + r#"
[entity.posts]
relation = "public.posts"
keys = "memberships"
by = ["organization_id", "author_id"]
where = { author_type = "User", hidden = false, kind = [1, 2], deleted_at = { null = true } }
order = ["id"]
about = "Posts."
[entity.posts.columns]
id = { type = "bigint", use = "export", about = "Id." }
organization_id = { type = "bigint", use = "export", about = "Its organization." }
author_id = { type = "bigint", use = "pseudonym", about = "Who wrote it." }
author_type = { type = "text", use = "omit", why = "Always User." }
hidden = { type = "boolean", use = "omit", why = "Always false." }
kind = { type = "integer", use = "export", about = "Kind." }
deleted_at = { type = "date", use = "omit", why = "Always empty." }
role = { type = "text", computed = true, use = "export", about = "Your role." }
"#;
    let catalogue = parse(&text).unwrap();
    insta::assert_snapshot!(statements::key_set(&catalogue.keys[1]).as_str(), @r#"
select k.* from (select coalesce(pg_catalog.array_agg(g.c0 order by g.k0, g.k1), '{}') as c0, coalesce(pg_catalog.array_agg(g.c1 order by g.k0, g.k1), '{}') as c1, coalesce(pg_catalog.array_agg(g.c2 order by g.k0, g.k1), '{}') as c2 from (select q."organization" as k0, pg_catalog.min(q."organization"::pg_catalog.text) as c0, q."member" as k1, pg_catalog.min(q."member"::pg_catalog.text) as c1, q."role"::pg_catalog.text as c2 from (
select 1
) q where q."organization" is not null and q."member" is not null group by q."organization", q."member", q."role"::pg_catalog.text) g) k where $1::pg_catalog.text is null or true
"#);
    assert_eq!(catalogue.entities[1].conditions.len(), 4);
    let said = complaint(&text.replace("author_type = \"User\", ", ""));
    // What the type is not says nothing of the types that come later.
    for nothing in ["{ not = \"Bot\" }", "{ null = false }"] {
        let text = text.replace("author_type = \"User\"", &format!("author_type = {nothing}"));
        assert_eq!(complaint(&text), said, "{nothing}");
    }
    insta::assert_snapshot!(said, @r#"catalogue.toml:19: `entity.posts.by`: `author_id` holds ids of several tables, and `author_type` says of which: add `where = { author_type = "..." }`, or the rows of others are exported"#);
}

#[test]
fn the_reading_role_gets_the_columns_of_the_statements_and_no_others() {
    let grants = parse(SMALL).unwrap().grants();
    let (revoked, granted) = grants.split_once("end $$;\n").unwrap();
    assert!(revoked.contains("revoke all on %I.%I from export_read"), "{revoked}");
    assert_eq!(
        granted,
        "grant usage on schema \"public\" to export_read;\n\
         grant select (\"id\") on \"public\".\"users\" to export_read;\n"
    );
    let grants = Catalogue::builtin().unwrap().grants();
    assert!(grants.contains(
        "grant select (\"left_at\", \"project_id\", \"user_id\") on \"public\".\"project_members\""
    ));
    for secret in ["password_hash", "api_token", "totp_secret", "webhook_secret", "variables", "association"]
    {
        assert!(!grants.contains(secret), "{secret}");
    }
}

#[test]
fn a_computed_column_must_not_hide_a_column_of_another_entity_of_the_relation() {
    let other = r#"
[entity.logins]
relation = "public.users"
keys = "account"
by = "id"
order = ["id"]
about = "Yours."
[entity.logins.columns]
id = { type = "uuid", use = "export", about = "Id." }
password = { type = "text", use = "export", computed = true, about = "How." }
"#;
    let complaint = complaint(&format!("{SMALL}{other}"));
    assert!(
        complaint.contains("`password` is computed in one of entity.users and entity.logins"),
        "{complaint}"
    );
    let apart = other.replace("public.users", "public.logins");
    parse(&format!("{SMALL}{apart}")).unwrap();
    parse(&format!("{SMALL}{}", other.replace("password", "how"))).unwrap();
}

#[test]
fn a_change_is_breaking_if_a_reader_of_archives_could_miss_something() {
    let old = parse(SMALL).unwrap();
    let id = "id = { type = \"uuid\", use = \"export\", about = \"Id.\" }";
    let name = "name = { type = \"text\", use = \"export\", about = \"Name.\" }";
    for (right, wrong, expected) in [
        ("You.", "Me.", "additive: users: is described in other words"),
        (
            "about = \"You.\"",
            "about = \"You.\"\npurpose = \"To show it.\"",
            "additive: users: is described in other words",
        ),
        ("Id.", "The id.", "additive: users.id: is described in other words"),
        (id, &format!("{id}\n{name}"), "additive: users.name: is new"),
        ("use = \"omit\", why", "use = \"export\", why", "additive: users.password: is new"),
        ("type = \"uuid\"", "type = \"text\"", "breaking: users.id: is of type `text`, no longer `uuid`"),
        (
            "public.users",
            "public.people",
            "breaking: users: is read in another way, so it may have other rows",
        ),
        ("why = \"Secret.\"", "why = \"A secret.\"", ""),
    ] {
        let text = SMALL.replace(right, wrong);
        assert_ne!(text, SMALL, "`{right}` is not in the catalogue");
        let changes = old.changes(&parse(&text).unwrap());
        assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), expected);
        // The way back: what was added is gone.
        let is_new = expected.ends_with("is new");
        let back = parse(&text).unwrap().changes(&old);
        assert_eq!(
            back.iter().any(|change| change.is_breaking),
            is_new || expected.starts_with("breaking"),
            "{back:?}"
        );
    }
    // What a request may ask for.
    let plain = crate::scope::tests::CATALOGUE;
    for (right, wrong, expected) in [
        (
            "time = \"made_at\"\n",
            "",
            "breaking: notes: no longer has `made_at` as its time, so a time span is another or refused",
        ),
        ("filter = [\"kind\"]\n", "", "breaking: notes: can no longer be filtered by `kind`"),
        (
            "references = { folder_id = \"folders\" }\n",
            "",
            "breaking: notes: refers to other entities, or in another way",
        ),
    ] {
        let text = plain.replacen(right, wrong, 1);
        assert_ne!(text, plain, "`{right}` is not in the catalogue");
        let (old, new) = (parse(plain).unwrap(), parse(&text).unwrap());
        let changes = old.changes(&new);
        assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        let back = new.changes(&old);
        assert!(back.len() == 1 && !back[0].is_breaking, "{back:?}");
    }
    let two = format!(
        "{SMALL}{}",
        SMALL[SMALL.find("[entity").unwrap()..].replace("entity.users", "entity.people")
    );
    let two = parse(&two).unwrap();
    assert_eq!(old.changes(&two)[0].to_string(), "additive: people: is new");
    assert_eq!(two.changes(&old)[0].to_string(), "breaking: people: is gone");
    let pseudonym = parse(&format!("{SMALL}by = {{ type = \"uuid\", use = \"export\" }}")).unwrap();
    let exported = parse(&format!("{SMALL}by = {{ type = \"uuid\", use = \"pseudonym\" }}")).unwrap();
    assert_eq!(pseudonym.changes(&exported)[0].to_string(), "breaking: users.by: is a pseudonym now");
    assert_eq!(exported.changes(&pseudonym)[0].to_string(), "breaking: users.by: is no pseudonym any more");
}

#[test]
fn the_catalogue_in_words_has_each_column_and_each_table_that_is_left_out() {
    let text = SMALL
        .replace("\"You.\"", "\"You | me.\"\npurpose = \"To sign\\nyou in.\"")
        .replace("Secret.", "A | B.");
    let catalogue = parse(&format!("{text}[left_out]\n\"public.jobs\" = \"Our own.\"")).unwrap();
    assert_eq!(
        catalogue.markdown(),
        "# What an export contains\n\n## users\n\nYou | me. From `public.users`.\n\n- Used for: To sign you in.\n\n\
         | column | type | treatment | meaning |\n|---|---|---|---|\n| id | uuid | exported | Id. |\n\
         | password | text | left out | A \\| B. |\n\n## Not exported\n\n| table | why |\n|---|---|\n\
         | public.jobs | Our own. |\n"
    );
    let csv = String::from_utf8(catalogue.csv().unwrap()).unwrap();
    assert_eq!(
        csv,
        "entity,relation,column,type,treatment,meaning,purpose,source,recipients,retention,owner\r\n\
         users,public.users,id,uuid,exported,Id.,\"To sign\nyou in.\",\"\",\"\",\"\",\"\"\r\n\
         users,public.users,password,text,left out,A | B.,\"To sign\nyou in.\",\"\",\"\",\"\",\"\"\r\n\
         \"\",public.jobs,\"\",\"\",not exported,Our own.,\"\",\"\",\"\",\"\",\"\"\r\n"
    );
    let builtin = Catalogue::builtin().unwrap();
    let lines = String::from_utf8(builtin.csv().unwrap()).unwrap().matches("\r\n").count();
    let columns: usize = builtin.entities().iter().map(|entity| entity.columns.len()).sum();
    assert_eq!(lines, 1 + columns + builtin.left_out().len());
}
