//! What a month costs, from lines of the log that are as old as the test says.

use chrono::{DateTime, Utc};
use export_activities::{
    fulfil::upload::{MOST_PARTS, PART_BYTES},
    requests::cost::{DayUse, Uploads, Use, days, largest},
};
use export_stack::servers::worker;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{installation_of as given, night_of::Nights};

const GIB: i64 = 1 << 30;
const UPLOADS: Uploads = Uploads { put_limit: 16 << 20, part_bytes: PART_BYTES, most_parts: MOST_PARTS };

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Adds a delivered archive and its lines of the log. One that was deleted belongs to a request that has ended.
async fn archive(owner: &PgPool, user: &str, bytes: i64, stored: &str, deleted: Option<&str>) -> Uuid {
    let sql = "insert into public.data_export_requests
            (user_id, status, download_url, expires_at, object_key, archive_bytes, archive_sha256,
             row_counts, snapshot_at, fulfilled_at, pseudonym_salt)
        values ($1, 'ready', 'https://x', now(), gen_random_uuid()::text, $2, repeat('a', 64), '{}', now(), now(), null)
        returning id";
    let id: Uuid = sqlx::query_scalar(sql).bind(user).bind(bytes).fetch_one(owner).await.unwrap();
    let line = "insert into public.data_export_events
            (request_id, kind, at, reason, object_key, archive_bytes, archive_sha256, row_counts)
        values ($1, $2, $3, $4, 'x', $5, repeat('a', 64), '{}')";
    let lines = [
        ("ready", Some(stored), None),
        ("failed", deleted, Some("expired")),
        ("object_deleted", deleted, None),
    ];
    for (kind, moment, reason) in lines {
        let Some(moment) = moment else { continue };
        let insert = sqlx::query(line).bind(id).bind(kind).bind(at(moment)).bind(reason).bind(bytes);
        insert.execute(owner).await.unwrap();
    }
    id
}

async fn download(owner: &PgPool, id: Uuid, action: &str, moment: &str, bytes: i64) {
    let sql = "insert into public.data_export_accesses (request_id, at, actor_as, action, bytes)
        values ($1, $2, 'owner', $3, $4)";
    let insert = sqlx::query(sql).bind(id).bind(at(moment)).bind(action).bind(bytes);
    insert.execute(owner).await.unwrap();
}

#[tokio::test]
async fn each_day_has_what_was_stored_called_and_downloaded_on_it() {
    let given = given::installation().await;
    let owner = &given.owner;
    // Half a day of the first, and half of the last.
    let week = archive(owner, "7", GIB, "2026-10-10T12:00:00Z", Some("2026-10-17T12:00:00Z")).await;
    // From the month before, and small: one put, which is not of October.
    archive(owner, "8", GIB / 4096, "2026-09-30T00:00:00Z", Some("2026-10-02T00:00:00Z")).await;
    // Of one who was forgotten.
    archive(
        owner,
        "00000000-0000-0000-0000-000000000000",
        9 * GIB,
        "2026-09-01T00:00:00Z",
        Some("2026-09-02T00:00:00Z"),
    )
    .await;
    // Never deleted, and uploaded in 384 parts.
    let kept = archive(owner, "7", 3 * GIB, "2026-10-31T00:00:00Z", None).await;
    download(owner, week, "linked", "2026-10-11T01:00:00Z", GIB).await;
    // Through the portal, a download has a line for its beginning and one for its end.
    download(owner, week, "delivered", "2026-10-11T02:00:00Z", GIB).await;
    // Neither a download, nor one of October.
    download(owner, week, "refused", "2026-10-11T03:00:00Z", GIB).await;
    download(owner, kept, "linked", "2026-11-01T00:00:00Z", GIB).await;

    let mut connection = given.steps.state.acquire().await.unwrap();
    let (from, to) = (at("2026-10-01T00:00:00Z"), at("2026-11-01T00:00:00Z"));
    let found = days(&mut connection, from, to, &UPLOADS).await.unwrap();
    assert_eq!(found.len(), 31);
    let on = |day: &str| -> Use {
        let found: Vec<&DayUse> = found.iter().filter(|found| found.day.to_string() == day).collect();
        found[0].used
    };
    let none = Use::default();
    assert_eq!(on("2026-10-01"), Use { archives: 1, gib_days: 1.0 / 4096.0, ..none });
    assert_eq!(on("2026-10-02"), none);
    assert_eq!(on("2026-10-10"), Use { archives: 1, gib_days: 0.5, puts: 130, gets: 1, ..none });
    assert_eq!(on("2026-10-11"), Use { archives: 1, gib_days: 1.0, gets: 1, downloaded_gib: 1.0, ..none });
    assert_eq!(on("2026-10-17"), Use { archives: 1, gib_days: 0.5, ..none });
    assert_eq!(on("2026-10-31"), Use { archives: 1, gib_days: 3.0, puts: 386, gets: 1, ..none });

    let accounts = largest(&mut connection, from, to, &UPLOADS, 1).await.unwrap();
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0].user_id.as_str(), "7");
    let used = accounts[0].used;
    assert_eq!(used, Use { archives: 2, gib_days: 10.0, puts: 516, gets: 3, downloaded_gib: 1.0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_multiplies_with_the_prices_that_are_set() {
    let nights = Nights::new().await;
    archive(&nights.owner, "7", GIB, "2026-10-01T00:00:00Z", Some("2026-11-01T00:00:00Z")).await;
    let mut environment = nights.environment.clone();
    environment.insert("EXPORT_PRICE_GIB_MONTH".to_owned(), "2".to_owned());
    environment.insert("EXPORT_PRICE_PUTS".to_owned(), "1000".to_owned());
    environment.insert("EXPORT_PRICE_GETS".to_owned(), "0".to_owned());
    let command = ["cost", "--month", "2026-10", "--output", "json"];
    let said = worker::command(&environment, &command).await.unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    // A month of a GiB, and 130 calls.
    let price = said["total"]["price"].as_f64().unwrap();
    assert!((price - 132.0).abs() < 1e-6, "{said}");
    assert_eq!((&said["month"], said["days"].as_array().unwrap().len()), (&json!("2026-10"), 31));
    assert_eq!(said["largest"][0]["user_id"], json!("7"));
    let shown = worker::command(&environment, &command[..3]).await.unwrap();
    assert!(shown.contains("total") && shown.contains("132.0000"), "{shown}");

    environment.insert("EXPORT_PRICE_GETS".to_owned(), "cheap".to_owned());
    let refused = worker::command(&environment, &command).await.unwrap_err().to_string();
    assert!(refused.contains("EXPORT_PRICE_GETS is `cheap`: set a price such as 0.0004"), "{refused}");
    let refused = worker::command(&nights.environment, &["cost", "--month", "October"]).await.unwrap_err();
    assert!(refused.to_string().contains("give a month such as 2026-11"), "{refused}");
}
