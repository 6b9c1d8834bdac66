//! Status at a glance: whether a person is needed, the results of a night, the progress of the running one.

use export_stack::{
    instruments::faulty_store::Fault,
    platform::{self, SeedOptions},
    servers::worker,
    shared::stack,
    supervisor::Process,
    wait,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    answers::{say, troubles},
    installation_of as given,
    keys::Keys,
    night_of::{FIRST_ARCHIVE, NIGHT, Nights, SOON, kill},
};

fn one_of(troubles: &[String], part: &str) -> bool {
    troubles.iter().filter(|trouble| trouble.contains(part)).count() == 1
}

async fn run(nights: &Nights, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&nights.owner).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_well_until_something_needs_a_person_and_then_says_what() {
    let nights = Nights::new().await;
    worker::command(&nights.environment, &["schedule", "unpause"]).await.unwrap();
    let idle = troubles(&nights).await;
    assert_eq!(idle.len(), 2, "{idle:?}");
    assert!(idle.iter().all(|trouble| trouble.starts_with("no worker polls task queue")), "{idle:?}");

    let worker = nights.worker(&[]).await;
    wait::until("a worker that polls both queues", SOON, || async {
        Ok(troubles(&nights).await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    nights.request(given::user(&nights.owner).await).await;
    assert_eq!(troubles(&nights).await, Vec::<String>::new(), "a fresh request is no trouble");
    nights.night().await;
    kill(&worker).await;

    run(&nights, "update public.data_export_requests set expires_at = now() - interval '20 min'").await;
    run(
        &nights,
        "insert into public.data_export_requests (user_id, requested_at)
         values (gen_random_uuid(), now() - interval '3 d')",
    )
    .await;
    let reason = ["--reason", "spring cleaning"];
    nights
        .try_temporal(
            &[&["schedule", "toggle", "--pause", "--schedule-id", "nightly_batch"][..], &reason].concat(),
        )
        .await
        .unwrap();
    nights.try_temporal(&["schedule", "delete", "--schedule-id", "export_expiry"]).await.unwrap();
    let now = troubles(&nights).await;
    assert_eq!(now.len(), 4, "{now:?}");
    assert!(one_of(&now, "the oldest pending request has waited for 3 d 0 h"), "{now:?}");
    assert!(one_of(&now, "a ready request is overdue by 20 min"), "{now:?}");
    assert!(one_of(&now, "schedule `nightly_batch` is paused (spring cleaning)"), "{now:?}");
    assert!(one_of(&now, "schedule `export_expiry`: it does not exist"), "{now:?}");
    let status = say(&nights.environment, &["status"]).await.answer;
    assert_eq!((&status["requests"]["pending"], &status["requests"]["ready"]), (&json!(1), &json!(1)));
    let days = status["requests"]["days_left"].as_i64().unwrap();
    assert!((24..=28).contains(&days), "{days} of a month are left after three days");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_answer_for_twenty_days_needs_a_person_and_is_in_the_register() {
    let nights = Nights::new().await;
    worker::command(&nights.environment, &["schedule", "unpause"]).await.unwrap();
    let fail = async |days: i32| -> Uuid {
        let made: Uuid = sqlx::query_scalar(
            "insert into public.data_export_requests (user_id, requested_at)
             values (gen_random_uuid(), now() - make_interval(days => $1)) returning id",
        )
        .bind(days)
        .fetch_one(&nights.owner)
        .await
        .unwrap();
        let failed = "update public.data_export_requests set status = 'failed', failure_reason = 'attempts_exhausted', pseudonym_salt = null where id = $1";
        sqlx::query(failed).bind(made).execute(&nights.owner).await.unwrap();
        made
    };
    let days = async || {
        let said = say(&nights.environment, &["status"]).await.answer;
        said["requests"]["oldest_unanswered_seconds"].as_i64().unwrap() / 86_400
    };
    // After two months it is in the register, and no longer on the clock.
    fail(63).await;
    assert_eq!(days().await, 0);
    fail(19).await;
    assert_eq!(days().await, 19);
    assert!(!one_of(&troubles(&nights).await, "a request has had no answer for"));
    let request = fail(21).await;
    assert_eq!(days().await, 21);
    assert!(one_of(&troubles(&nights).await, "a request has had no answer for 21 d 0 h, and "));
    let csv = worker::command(&nights.environment, &["register"]).await.unwrap();
    let line = csv.lines().find(|line| line.starts_with(&request.to_string())).unwrap();
    assert!(line.contains(",open,failed,attempts_exhausted,"), "{csv}");
    let pending = nights.request(Uuid::new_v4()).await.to_string();
    let shown = worker::command(&nights.environment, &["request", "show", &pending]).await.unwrap();
    let due = shown.lines().find(|line| line.starts_with("due ")).unwrap();
    let left: u32 = due.rsplit_once("; ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!((28..=31).contains(&left), "{due}");
    let none = worker::command(&nights.environment, &["register", "--from", "2999-01-01"]).await.unwrap();
    assert_eq!(none.lines().count(), 1, "the header alone: {none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_of_the_requests_without_temporal_and_of_temporal_without_the_database() {
    let nights = Nights::new().await;
    worker::command(&nights.environment, &["schedule", "unpause"]).await.unwrap();
    nights.request(Uuid::new_v4()).await;
    let mut without = nights.environment.clone();
    without.insert("TEMPORAL_ADDRESS".to_owned(), "127.0.0.1:1".to_owned());
    let said = say(&without, &["status"]).await;
    assert_eq!((said.code, &said.answer["requests"]["pending"]), (Some(1), &json!(1)), "{}", said.aside);
    assert!(said.answer["troubles"][0]["cause"].as_str().unwrap().contains("cannot reach Temporal"));

    let mut without = nights.environment.clone();
    without.insert("EXPORT_DATABASE_URL".to_owned(), "postgres://nobody:x@127.0.0.1:1/none".to_owned());
    let said = say(&without, &["status"]).await;
    assert_eq!(said.code, Some(1), "{}", said.aside);
    assert!(
        said.answer["requests"].is_null() && said.answer["nights"]["next"].is_string(),
        "{}",
        said.answer
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_failed_is_a_trouble_until_one_completes() {
    let nights = Nights::new().await;
    let worker = nights.worker(&[]).await;
    run(&nights, "alter table public.releases rename column notes to remarks").await;
    nights.try_night().await.unwrap_err();
    let failed = troubles(&nights).await;
    let of_night: Vec<_> = failed.iter().filter(|trouble| trouble.contains("did not complete")).collect();
    assert!(of_night.len() == 1 && of_night[0].contains("catalogue_drift"), "{failed:?}");
    run(&nights, "alter table public.releases rename column remarks to notes").await;
    nights.night().await;
    let well = troubles(&nights).await;
    assert!(!well.iter().any(|trouble| trouble.contains("did not complete")), "{well:?}");
    kill(&worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_stands_still_is_a_trouble_until_it_goes_on() {
    let keys = Keys::new(&["old"]);
    let mut nights = Nights::new().await;
    keys.set(&mut nights.environment);
    let worker = nights.worker(&[]).await;
    nights.start_night("stuck", &json!({"steering": {"paused": {"by": "ada", "why": "a new key"}}})).await;
    wait::until("the pause", SOON, || async {
        let progress = ["workflow", "query", "--workflow-id", "stuck", "--type", "progress"];
        Ok(nights.try_temporal(&progress).await.is_ok().then_some(()))
    })
    .await
    .unwrap();
    // From now on its history holds something that only the key can read.
    worker::command(&nights.environment, &["night", "window", "1"]).await.unwrap();
    kill(&worker).await;
    assert!(!troubles(&nights).await.iter().any(|trouble| trouble.contains("is stuck")));

    // A worker that lacks the key cannot read its own work.
    let other = Keys::new(&["new"]);
    let heir = nights.worker(&[("EXPORT_CODEC_KEY_FILE", &other.path())]).await;
    let wake = ["workflow", "signal", "--workflow-id", "stuck", "--name", "wake"];
    nights.try_temporal(&wake).await.unwrap();
    let line = "is stuck: its workflow task has failed ";
    let cause = nights
        .until("the status to say that the night is stuck", || async {
            // Boxed: the future of a command and its waiting is large.
            Box::pin(troubles(&nights)).await.into_iter().find(|trouble| trouble.contains(line))
        })
        .await;
    assert!(cause.starts_with("night `stuck` "), "{cause}");
    let status = worker::output(&nights.environment, &["status"]).await.unwrap();
    let said = String::from_utf8(status.stdout).unwrap();
    assert!(said.contains("-> see \"A night that is stuck\" in docs/OPERATIONS.md"), "{said}");

    let resume = ["night", "resume", "--by", "ada"];
    let refused = worker::command(&nights.environment, &resume).await.unwrap_err().to_string();
    assert!(refused.contains("\"A night that is stuck\" in docs/OPERATIONS.md"), "{refused}");

    kill(&heir).await;
    let _worker = nights.worker(&[]).await;
    nights
        .until("the night to take orders again", || async {
            worker::command(&nights.environment, &resume).await.ok()
        })
        .await;
    assert_eq!(nights.ended().await, "COMPLETED");
    assert!(!troubles(&nights).await.iter().any(|trouble| trouble.contains("is stuck")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_the_store_keeps_is_a_trouble_until_it_is_deleted() {
    let nights = Nights::on_faulty_store().await;
    let worker = nights.worker(&[]).await;
    let request = nights.request(given::user(&nights.owner).await).await.to_string();
    nights.night().await;
    kill(&worker).await;
    nights.faulty().fail_all("DeleteObject", Fault::AccessDenied);
    let revoke = ["request", "revoke", &request, "--reason", "legal"];
    worker::command(&nights.environment, &revoke).await.unwrap_err();
    let line =
        "1 archives of failed requests are still in the store, the oldest for 31 min: their links work";
    assert!(!one_of(&troubles(&nights).await, line), "a pass has half an hour");
    run(
        &nights,
        "alter table public.data_export_requests disable trigger user;
         update public.data_export_requests set updated_at = now() - interval '31 min';
         alter table public.data_export_requests enable trigger user",
    )
    .await;
    let now = troubles(&nights).await;
    assert!(one_of(&now, line), "{now:?}");

    // What the remedy says: the reason, and then the deletion.
    let refused = worker::command(&nights.environment, &["expire"]).await.unwrap_err().to_string();
    assert!(refused.contains("AccessDenied"), "{refused}");
    nights.faulty().heal();
    worker::command(&nights.environment, &["expire"]).await.unwrap();
    let now = troubles(&nights).await;
    assert!(!now.iter().any(|trouble| trouble.contains("still in the store")), "{now:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brake_that_holds_is_a_trouble_until_a_person_has_decided() {
    let mut nights = Nights::new().await;
    let worker = nights.worker(&[]).await;
    nights.requests(10).await;
    nights.night().await;
    kill(&worker).await;
    nights.environment.insert("EXPORT_SWEEP_MIN_AGE".to_owned(), "0s".to_owned());
    let nights = nights;
    let held = async |line: &str| one_of(&troubles(&nights).await, line);
    let refused = async |command: &[&str]| {
        worker::command(&nights.environment, command).await.unwrap_err();
    };
    let done = async |command: &[&str]| worker::command(&nights.environment, command).await.unwrap();

    let accounts = "10 of 10 delivered archives belong to users who seem to be gone, so nothing was revoked";
    assert!(!held(accounts).await);
    run(&nights, "delete from public.users").await;
    refused(&["expire", "--accounts"]).await;
    assert!(held(accounts).await);
    done(&["expire", "--accounts", "--force"]).await;
    assert!(!held(accounts).await);

    let orphans = "12 of 12 stored objects seem orphaned, so nothing was swept";
    for _ in 0..12 {
        let key = format!("exports/{}/{}.zip", Uuid::new_v4(), Uuid::new_v4());
        let put = nights.subject.s3.put_object().bucket(&nights.subject.bucket).key(key);
        put.body(b"x".to_vec().into()).send().await.unwrap();
    }
    refused(&["sweep"]).await;
    assert!(held(orphans).await);
    done(&["sweep", "--force"]).await;
    assert!(!held(orphans).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_found_at_night_and_a_trouble_until_it_is_gone() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    nights.requests(3).await;
    nights.night().await;
    let (id, key, bytes): (Uuid, String, i64) = sqlx::query_as(
        "select id, object_key, archive_bytes from public.data_export_requests order by id limit 1",
    )
    .fetch_one(&nights.owner)
    .await
    .unwrap();
    let line = format!("the archive of request {id} is missing, or not as it was delivered");
    let is_named = async || one_of(&troubles(&nights).await, &line);
    assert!(!is_named().await);
    let put = nights.subject.s3.put_object().bucket(&nights.subject.bucket).key(key);
    put.body(vec![7; usize::try_from(bytes).unwrap()].into()).send().await.unwrap();
    nights.start_night("later", &json!({})).await;
    assert_eq!(nights.ended_of("later").await, "COMPLETED");
    assert!(is_named().await);
    let shown = worker::command(&nights.environment, &["request", "show", &id.to_string()]).await.unwrap();
    assert!(shown.contains("damaged") && shown.contains("other_bytes"), "{shown}");
    let found = say(&nights.environment, &["recheck", "--all"]).await;
    assert_eq!((found.code, &found.answer["damaged"]), (Some(1), &json!([id])), "{}", found.aside);

    worker::command(&nights.environment, &["request", "revoke", &id.to_string(), "--reason", "mistake"])
        .await
        .unwrap();
    assert!(!is_named().await);
    let found = say(&nights.environment, &["recheck", "--all"]).await;
    assert_eq!((found.code, &found.answer["read"]), (Some(0), &json!(2)), "{}", found.aside);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_completes_although_its_archives_cannot_be_read_back() {
    let nights = Nights::on_faulty_store().await;
    let worker = nights.worker(&[]).await;
    nights.requests(3).await;
    nights.night().await;
    assert!(!worker.output().contains("could not be compared"), "the control");
    // Of the archives alone: a bucket whose mark cannot be read is not swept.
    nights.faulty().fail_object("GetObject", ".zip", Fault::InternalError);
    nights.start_night("later", &json!({})).await;
    assert_eq!(nights.ended_of("later").await, "COMPLETED");
    assert!(worker.output().contains("The delivered archives could not be compared"));
    assert_eq!(nights.ready().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_is_shown_from_the_log_alone() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    let none = say(&nights.environment, &["night", "show"]).await;
    assert_eq!((none.code, &none.answer["sentence"]), (Some(1), &json!("No night has written into the log")));
    let seeded = platform::seed(&nights.owner, &SeedOptions::default()).await.unwrap();
    for user in seeded.users.iter().copied().chain([Uuid::new_v4()]) {
        nights.request(user).await;
    }
    nights.night().await;
    // Made later, so none of this night's.
    nights.request(seeded.lonely).await;

    let mut without_temporal = nights.environment.clone();
    without_temporal.insert("TEMPORAL_ADDRESS".to_owned(), "127.0.0.1:1".to_owned());
    let shown = say(&without_temporal, &["night", "show"]).await;
    let delivered = seeded.users.len();
    let (bytes, rows): (i64, i64) = sqlx::query_as(
        "select sum(archive_bytes)::bigint, sum((select sum(value::bigint) from jsonb_each_text(row_counts)))::bigint
         from public.data_export_requests",
    )
    .fetch_one(&nights.owner)
    .await
    .unwrap();
    let night = shown.answer;
    assert_eq!(shown.code, Some(0), "{}", shown.aside);
    assert_eq!((&night["requested"], &night["ready"]), (&json!(delivered + 1), &json!(delivered)), "{night}");
    assert_eq!(night["left"], json!(0), "{night}");
    assert_eq!((&night["failed"], &night["ended"]), (&json!({"account_deleted": 1}), &json!({})), "{night}");
    assert_eq!((&night["bytes"], &night["rows"]), (&json!(bytes), &json!(rows)), "{night}");
    assert!(night["first"].as_str().unwrap() <= night["last"].as_str().unwrap());

    // What was delivered and is over is not among the failures of a night.
    run(
        &nights,
        "update public.data_export_requests set expires_at = now() - interval '1 s'
         where id = (select id from public.data_export_requests where status = 'ready' limit 1)",
    )
    .await;
    // In the name of the same date, also when midnight has passed.
    let date = night["night"].as_str().unwrap();
    nights.start_night("later", &json!({"night": date})).await;
    assert_eq!(nights.ended_of("later").await, "COMPLETED");
    let later = say(&without_temporal, &["night", "show", "--night", date]).await.answer;
    assert_eq!((&later["failed"], &later["ended"]), (&json!({"account_deleted": 1}), &json!({"expired": 1})));
    let other = say(&without_temporal, &["night", "show", "--night", "2001-01-01"]).await;
    assert_eq!(
        (other.code, &other.answer["sentence"]),
        (Some(1), &json!("No night of 2001-01-01 has written into the log"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_night_is_followed_to_its_end_good_or_bad() {
    let nights = Nights::on_faulty_store().await;
    let none = say(&nights.environment, &["night", "watch"]).await;
    assert_eq!((none.code, &none.answer["workflow_id"]), (Some(0), &Value::Null));

    nights.request(given::user(&nights.owner).await).await;
    nights.request(Uuid::new_v4()).await;
    nights.faulty().fail("PutObject", FIRST_ARCHIVE, Fault::Hold);
    let _worker = nights.worker(&[]).await;
    nights.begin_night().await;
    let bad = watch(&nights, "0 ready, 1 failed, 1 pending").await;
    let runs = nights.runs("nightly_batch").await;
    let running = runs.iter().find(|run| run.status == "RUNNING").unwrap();
    nights.try_temporal(&["workflow", "terminate", "--workflow-id", &running.id]).await.unwrap();
    assert!(!bad.ended(SOON).await.unwrap().is_success());
    let said = bad.output();
    assert!(said.contains("The night did not complete: it was terminated"), "{said}");
    assert!(said.lines().any(|line| line == "  account_deleted       1"), "{said}");
    nights.ended().await;
    let shown = say(&nights.environment, &["night", "show"]).await.answer;
    assert_eq!(
        (&shown["requested"], &shown["left"], &shown["ready"]),
        (&json!(2), &json!(1), &json!(0)),
        "{shown}"
    );

    nights.faulty().fail_all("PutObject", Fault::Hold);
    nights.begin_night().await;
    // What the night before did is not this one's.
    let good = watch(&nights, "0 ready, 0 failed, 1 pending").await;
    nights.faulty().release();
    assert!(good.ended(NIGHT).await.unwrap().is_success(), "{}", good.last_words());
    for line in ["ready                   1", "failed                  0"] {
        assert!(good.output().lines().any(|said| said == line), "`{line}` is missing: {}", good.last_words());
    }
}

/// Watches like an operator without a terminal, and waits for the given text.
async fn watch(nights: &Nights, line: &str) -> Process {
    let name = format!("watch-{}", Uuid::new_v4().simple());
    let stack = stack().await.unwrap();
    let watch =
        stack.start_worker(&name, &["night", "watch"], nights.environment.clone()).unwrap().kill_on_drop();
    wait::until(line, SOON, || async {
        watch.check_alive()?;
        Ok(watch.output().lines().any(|said| said == line).then_some(()))
    })
    .await
    .unwrap();
    watch
}
