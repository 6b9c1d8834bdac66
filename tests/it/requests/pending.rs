//! The queue is listed once, whole and in order, whatever happens to it meanwhile.

use export_activities::{database::pool::Pool, requests::pending::list_pending};
use export_stack::shared::TestDatabase;
use export_workflows::contract::ListPendingInput;
use sqlx::PgPool;
use uuid::Uuid;

/// Makes a database, and connects to it as the owner and as the worker.
async fn queue() -> (PgPool, Pool) {
    let database = TestDatabase::new().await.unwrap();
    (database.owner().await.unwrap(), database.state().await.unwrap())
}

/// Makes requests of few different moments, so that pages end between equals.
async fn requests(pool: &PgPool, count: i32) -> Vec<Uuid> {
    sqlx::query(
        "insert into public.data_export_requests (user_id, requested_at)
         select gen_random_uuid(), now() - interval '1 minute' * (n / 70) from generate_series(1, $1) n",
    )
    .bind(count)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query_scalar("select id from public.data_export_requests order by requested_at, id")
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn set(pool: &PgPool, request: Uuid, what: &str) {
    let sql = format!("update public.data_export_requests set {what} where id = $1");
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(request).execute(pool).await.unwrap();
}

#[tokio::test]
async fn pages_hold_every_request_once_in_order_while_the_queue_shrinks_and_grows() {
    let (pool, state) = queue().await;
    let expected = requests(&pool, 1203).await;
    let mut input = ListPendingInput { limit: 200, round: 1, ..Default::default() };
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = list_pending(&state, &input).await.unwrap();
        assert_eq!(page.pending_at_start, (pages == 0).then_some(1203));
        pages += 1;
        for request in &page.requests {
            set(&pool, *request, "status = 'failed', failure_reason = 'revoked', pseudonym_salt = null")
                .await;
        }
        // One that comes in the night waits for the next.
        sqlx::query("insert into public.data_export_requests (user_id) values (gen_random_uuid())")
            .execute(&pool)
            .await
            .unwrap();
        seen.extend(page.requests);
        input.cutoff = page.cutoff;
        match page.next {
            Some(cursor) => input.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!((seen == expected, pages), (true, 7));
}

#[tokio::test]
async fn the_second_look_takes_what_was_deferred_and_leaves_what_was_given_up_tonight() {
    let (pool, state) = queue().await;
    let all = requests(&pool, 5).await;
    let input = |round, cutoff| ListPendingInput { limit: 10, round, cutoff, ..Default::default() };
    let cutoff = list_pending(&state, &input(1, None)).await.unwrap().cutoff;
    set(&pool, all[0], "attempts = 5, given_up_at = now(), last_error = 'of any text'").await;
    set(&pool, all[1], "attempts = 5, given_up_at = now() - interval '1 d', last_error = 'request: panic'")
        .await;
    set(&pool, all[2], "attempts = 4, last_error = 'request: panic'").await;
    set(&pool, all[3], "last_error = 'system: database/57P01'").await;
    let second = list_pending(&state, &input(2, cutoff)).await.unwrap();
    assert_eq!(second.requests, all[1..]);
    // The control: the first round of the next night takes it again.
    let next = list_pending(&state, &input(1, None)).await.unwrap();
    assert_eq!(next.requests, all);
}
