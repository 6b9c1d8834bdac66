//! Nobody else's data in anybody's archive, over a whole night: no omitted column of anyone, no id and no address of
//! another person; and pseudonyms that still join.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Read as _},
};

use export_activities::catalogue::{Catalogue, Use};
use export_stack::platform::{self, SeedOptions};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::night_of::Nights;

/// An archive's files as text, by name.
type Archive = BTreeMap<String, String>;

async fn download(nights: &Nights) -> BTreeMap<Uuid, Archive> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "select user_id::uuid, download_url from public.data_export_requests where status = 'ready'",
    )
    .fetch_all(&nights.owner)
    .await
    .unwrap();
    let http = export_stack::servers::versitygw::http().unwrap();
    let mut archives = BTreeMap::new();
    for (user, url) in rows {
        let bytes = http.get(&url).send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut archive = Archive::new();
        for index in 0..zip.len() {
            let mut file = zip.by_index(index).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            archive.insert(file.name().unwrap().into_owned(), text);
        }
        archives.insert(user, archive);
    }
    archives
}

async fn texts(owner: &PgPool, sql: String) -> Vec<String> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(owner).await.unwrap()
}

/// Returns all values of all omitted columns that are long enough to be nobody's by chance.
async fn omitted_values(owner: &PgPool, catalogue: &Catalogue) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    for entity in catalogue.entities() {
        for column in entity.columns.iter().filter(|column| column.use_ == Use::Omit) {
            let value = match column.pg_type.as_str() {
                "bytea" => format!("encode({}, 'hex')", column.name),
                _ => format!("{}::text", column.name),
            };
            let sql = format!(
                "select distinct {value} from {} where length({value}) >= 12 limit 500",
                entity.relation
            );
            values.extend(texts(owner, sql).await);
        }
    }
    values
}

fn holds(archive: &Archive, word: &str) -> Option<String> {
    archive.iter().find(|(_, text)| text.contains(word)).map(|(name, _)| name.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_archive_of_a_night_holds_what_is_another_persons_and_pseudonyms_join() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let seeded = platform::seed(&nights.owner, &SeedOptions::default()).await.unwrap();
    for user in &seeded.users {
        nights.request(*user).await;
    }
    nights.night().await;
    let archives = download(&nights).await;
    assert_eq!(archives.len(), seeded.users.len());
    let catalogue = Catalogue::builtin().unwrap();

    let omitted = omitted_values(&nights.owner, &catalogue).await;
    assert!(omitted.len() > 200, "the control: {} omitted values prove little", omitted.len());
    let people: Vec<(Uuid, String)> =
        sqlx::query_as("select id, email::text from public.users").fetch_all(&nights.owner).await.unwrap();
    let mut free_texts_with_an_address = 0;
    for (user, archive) in &archives {
        for value in &omitted {
            assert_eq!(holds(archive, value), None, "an omitted value is in the archive of {user}");
        }
        for (person, email) in &people {
            let mine = person == user;
            for word in [person.to_string(), email.clone()] {
                let found = holds(archive, &word).is_some();
                assert_eq!(found, mine, "`{word}` in the archive of {user}");
            }
        }
        // Free text is exported as it was written, even if it names people. The archive states this.
        if holds(archive, "@customer.example, please call her back").is_some() {
            free_texts_with_an_address += 1;
            assert!(
                archive["README.txt"].contains("Texts that other people wrote"),
                "{}",
                archive["README.txt"]
            );
        }
    }
    assert!(free_texts_with_an_address > 0, "the reference data has lost its address in a free text");

    let mut people_of: BTreeMap<_, BTreeMap<Uuid, Option<Uuid>>> = BTreeMap::new();
    for entity in catalogue.entities() {
        for column in entity.columns.iter().filter(|column| column.use_ == Use::Pseudonym) {
            let sql = format!("select id, {} from {}", column.name, entity.relation);
            let rows: Vec<(Uuid, Option<Uuid>)> =
                sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&nights.owner).await.unwrap();
            people_of.insert((entity.name.as_str(), column.name.as_str()), rows.into_iter().collect());
        }
    }
    let mut joined = 0;
    let mut seen_in_archives: BTreeMap<String, BTreeSet<Uuid>> = BTreeMap::new();
    for (user, archive) in &archives {
        // The same person is the same pseudonym everywhere, and nobody else is.
        let (mut names, mut entities): (BTreeMap<Uuid, String>, BTreeMap<Uuid, BTreeSet<&str>>) =
            Default::default();
        for entity in catalogue.entities() {
            let rows: Vec<serde_json::Value> =
                serde_json::from_str(&archive[&format!("json/{}.json", entity.name)]).unwrap();
            for column in entity.columns.iter().filter(|column| column.use_ == Use::Pseudonym) {
                let real = &people_of[&(entity.name.as_str(), column.name.as_str())];
                for row in &rows {
                    let id: Uuid = row["id"].as_str().unwrap().parse().unwrap();
                    let shown = row[column.name.as_str()].as_str();
                    let Some(person) = real[&id] else {
                        assert_eq!(shown, None);
                        continue;
                    };
                    let shown = shown.unwrap().to_owned();
                    assert_eq!(
                        shown == person.to_string(),
                        person == *user,
                        "{}.{}",
                        entity.name,
                        column.name
                    );
                    let known = names.entry(person).or_insert_with(|| shown.clone());
                    assert_eq!(*known, shown, "one person, two names");
                    entities.entry(person).or_default().insert(&entity.name);
                    if person != *user {
                        assert!(shown.starts_with("member-") && shown.len() == 23, "{shown}");
                        seen_in_archives.entry(shown).or_default().insert(*user);
                    }
                }
            }
        }
        let different: BTreeSet<&String> = names.values().collect();
        assert_eq!(different.len(), names.len(), "two people, one name");
        joined += entities.values().filter(|entities| entities.len() > 1).count();
    }
    assert!(joined > 20, "the control: only {joined} people stand in more than one entity");
    assert!(seen_in_archives.values().all(|users| users.len() == 1), "a pseudonym joins two archives");
}
