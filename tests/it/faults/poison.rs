//! A request that kills its worker each time fails no other request.

use export_stack::instruments::faulty_store::Fault;

use crate::support::night_of::{MANY_ATTEMPTS, Nights, kill, until_said};

/// Requests of the night; one of them kills.
const REQUESTS: i32 = 60;

/// Returns the number of requests that an attempt holds.
async fn claimed(nights: &Nights) -> i64 {
    let sql = "select count(*) from public.data_export_requests where claim_token is not null";
    sqlx::query_scalar(sql).fetch_one(&nights.owner).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_kills_its_worker_fails_alone_and_the_others_are_ready() {
    let most: u32 = std::env::var("POISON_MAX_LOST").map_or(3, |text| text.parse().unwrap());
    let mut nights = Nights::on_faulty_store().await;
    nights.quiet = MANY_ATTEMPTS;
    let most_lost = most.to_string();
    let settings = [("EXPORT_MAX_LOST", most_lost.as_str())];
    let mut worker = nights.worker(&settings).await;
    until_said(&worker, "Polling task queue").await;
    nights.requests(REQUESTS).await;
    let poison = "select id from public.data_export_requests order by requested_at, id offset 4 limit 1";
    let poison: uuid::Uuid = sqlx::query_scalar(poison).fetch_one(&nights.owner).await.unwrap();
    // The poison never ends an upload: each of its attempts is killed, however slow this machine is.
    let hang = || nights.faulty().fail_object("PutObject", &poison.to_string(), Fault::Hang);
    // Up to the first kill its neighbours do not end theirs either, so that they are killed along with it.
    nights.faulty().fail_all("PutObject", Fault::Hang);
    hang();
    nights.begin_night().await;
    let mut hung = 0;
    for kills in 0..most {
        // It kills while its archive goes up, not in the moment in which it is claimed and may not yet begin.
        hung = nights
            .until("the poison to hang", || async {
                let hits = nights.faulty().hits(&poison.to_string());
                (hits > hung).then_some(hits)
            })
            .await;
        if kills == 0 {
            nights
                .until("its neighbours to be claimed", || async {
                    (claimed(&nights).await > 1).then_some(())
                })
                .await;
        }
        assert_eq!(nights.status(poison).await, ("pending".to_owned(), None), "after {kills} kills");
        assert_eq!(
            u32::try_from(nights.counted(poison).await.1).unwrap(),
            kills,
            "each killed worker counts"
        );
        kill(&worker).await;
        if kills == 0 {
            nights.faulty().heal();
            hang();
        }
        worker = nights.worker(&settings).await;
    }
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_eq!(nights.status(poison).await, ("failed".to_owned(), Some("attempts_exhausted".to_owned())));
    assert_eq!(nights.ready().await, i64::from(REQUESTS) - 1);
    let most_blamed: i32 =
        sqlx::query_scalar("select max(lost) from public.data_export_requests where status = 'ready'")
            .fetch_one(&nights.owner)
            .await
            .unwrap();
    // The control: the neighbours were killed along with it, and only while it was not yet a suspect.
    assert!((1..=2).contains(&most_blamed), "a neighbour lost {most_blamed} workers");
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(usize::try_from(REQUESTS).unwrap() - 1).await;
}
