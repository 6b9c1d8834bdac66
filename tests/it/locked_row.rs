//! A row locked by a forgotten psql delays no other export.

use std::time::{Duration, Instant};

use export_stack::worker;
use uuid::Uuid;

use crate::night_of::Nights;

/// What 199 small exports may take longer than usual on a machine that does other things too.
const NOISE: Duration = Duration::from_secs(10);

/// Serves requests, one of which may be locked, and returns how long the others took.
async fn serve(nights: &Nights, count: i32, locked: Option<Uuid>) -> Duration {
    let ready = nights.ready().await + i64::from(count) - i64::from(locked.is_some());
    let began = Instant::now();
    nights.begin_night().await;
    nights.until_ready(ready).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_requests_one_of_which_is_locked_199_are_ready_as_soon_as_ever() {
    let nights = Nights::new().await;
    let worker = nights.worker(&[]).await;
    nights.requests(200).await;
    let usual = serve(&nights, 200, None).await;
    assert_eq!(nights.ended().await, "COMPLETED");

    nights.requests(200).await;
    let locked: Uuid = sqlx::query_scalar(
        "select id from public.data_export_requests where status = 'pending' order by requested_at, id limit 1",
    )
    .fetch_one(&nights.owner)
    .await
    .unwrap();
    let mut lock = nights.owner.begin().await.unwrap();
    sqlx::query("select from public.data_export_requests where id = $1 for update")
        .bind(locked)
        .execute(&mut *lock)
        .await
        .unwrap();
    let beside_a_lock = serve(&nights, 200, Some(locked)).await;
    assert!(beside_a_lock < usual.mul_f64(1.1) + NOISE, "{usual:?}, then {beside_a_lock:?}");
    assert_eq!(nights.status(locked).await.0, "pending");
    // A command beside the night is not stopped by the lock either.
    worker::command(&nights.environment, &["request", "list"]).await.unwrap();
    lock.rollback().await.unwrap();

    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.status(locked).await, ("ready".to_owned(), None));
    let (_, lost, attempts) = nights.counted(locked).await;
    assert_eq!((lost, attempts), (0, 0));
    assert!(!worker.output().contains("could not be encoded"), "{}", worker.last_words());
    nights.assert_sound(400).await;
}
