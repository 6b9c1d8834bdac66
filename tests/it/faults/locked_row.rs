//! A row locked by a forgotten psql delays no other export.

use std::time::{Duration, Instant};

use export_stack::servers::worker;
use uuid::Uuid;

use crate::support::night_of::Nights;

/// What 199 small exports may take longer than their peers on a machine that does other things too.
const NOISE: Duration = Duration::from_secs(10);

/// Serves 200 requests, of which `locked` may be locked, and returns how long the others took.
async fn serve(nights: &Nights, locked: usize) -> Duration {
    let began = Instant::now();
    nights.begin_night().await;
    nights.until_ready(200 - i64::try_from(locked).unwrap()).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_requests_one_of_which_is_locked_199_are_ready_as_soon_as_ever() {
    // Two installations at the same time, so that they share the load of the machine: one with a lock, one without.
    let (free, nights) = tokio::join!(Nights::new(), Nights::new());
    let (_other, worker) = tokio::join!(free.worker(&[]), nights.worker(&[]));
    tokio::join!(free.requests(200), nights.requests(200));
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
    let (usual, beside_a_lock) = tokio::join!(serve(&free, 0), serve(&nights, 1));
    assert!(beside_a_lock < usual.mul_f64(1.1) + NOISE, "{usual:?}, and {beside_a_lock:?} beside a lock");
    assert_eq!(nights.status(locked).await.0, "pending");
    // A command beside the night is not stopped by the lock either.
    worker::command(&nights.environment, &["request", "list"]).await.unwrap();
    lock.rollback().await.unwrap();

    assert_eq!((free.ended().await, nights.ended().await), ("COMPLETED".to_owned(), "COMPLETED".to_owned()));
    assert_eq!(nights.status(locked).await, ("ready".to_owned(), None));
    let (_, lost, attempts) = nights.counted(locked).await;
    assert_eq!((lost, attempts), (0, 0));
    assert!(!worker.output().contains("could not be encoded"), "{}", worker.last_words());
    nights.assert_sound(200).await;
}
