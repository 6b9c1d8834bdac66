//! The instruments with which other tests break things do break them, on the real servers.

use std::net::SocketAddr;

use aws_sdk_s3::error::SdkError;
use export_activities::{failure::judge, fulfil::upload::upload, pulse::Pulse};
use export_stack::instruments::{
    faulty_store::Fault,
    proxy::{Mode, Proxy},
};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::support::servers::{
    TestArchive, connect, content, database, faulty_store, new_key, real_store, sdk_client,
};

/// Connects to the database behind `pool` through a proxy.
async fn through_proxy(pool: &PgPool) -> (Proxy, PgConnection) {
    let options = pool.connect_options();
    let server: SocketAddr = format!("{}:{}", options.get_host(), options.get_port()).parse().unwrap();
    let proxy = Proxy::start(server, 42).await.unwrap();
    let options = options.as_ref().clone().host("127.0.0.1").port(proxy.address().port());
    let connection = PgConnection::connect_with(&options).await.unwrap();
    (proxy, connection)
}

async fn marks(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from public.marks").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn the_proxy_loses_the_answer_to_commit_and_not_the_commit() {
    let pool = database().await;
    sqlx::query("create table public.marks (n int)").execute(&pool).await.unwrap();
    let (proxy, mut connection) = through_proxy(&pool).await;

    // The control: without the fault the same transaction ends well.
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("insert into public.marks values (1)").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((marks(&pool).await, proxy.dropped_answers()), (1, 0));

    proxy.set(Mode::DropCommitAnswer);
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("insert into public.marks values (2)").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap_err();
    assert_eq!((marks(&pool).await, proxy.dropped_answers()), (2, 1), "the server had committed");
}

#[tokio::test]
async fn the_proxy_cuts_a_transaction_before_its_commit() {
    let pool = database().await;
    sqlx::query("create table public.marks (n int)").execute(&pool).await.unwrap();
    let (proxy, mut connection) = through_proxy(&pool).await;
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("insert into public.marks values (1)").execute(&mut *transaction).await.unwrap();
    proxy.set(Mode::Cut);
    transaction.commit().await.unwrap_err();
    assert_eq!((marks(&pool).await, proxy.dropped_answers()), (0, 0));
}

#[tokio::test]
async fn an_upload_whose_every_answer_is_lost_on_the_way_can_be_repeated() {
    let mut config = real_store().await;
    let direct = config.clone();
    let server: SocketAddr =
        config.endpoint.as_ref().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = Proxy::start(server, 42).await.unwrap();
    config.endpoint = Some(format!("http://{}", proxy.address()));
    config.attempts = 1;
    let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(1000));
    proxy.set(Mode::DropAnswer(1));
    let error = upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap_err();
    assert!(judge(&error).code.starts_with("store/"), "the look at the object is lost as well: {error:#}");
    assert_eq!(content(&direct, &key).await, Some(archive.content.clone()), "the put was done");
    proxy.set(Mode::Pass);
    upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap();
}

#[tokio::test]
async fn the_faulty_store_fails_exactly_the_call_it_was_told_to() {
    let (faulty, mut config, _folder) = faulty_store().await;
    config.attempts = 1;
    let client = sdk_client(&config);
    let head = || client.head_bucket().bucket("bucket").send();
    faulty.fail("HeadBucket", 2, Fault::Refuse);
    head().await.unwrap();
    // The client's own second try is the third call.
    head().await.unwrap();
    assert_eq!(faulty.calls("HeadBucket"), 3);
    faulty.fail_all("HeadBucket", Fault::InternalError);
    let error = head().await.unwrap_err();
    assert!(matches!(&error, SdkError::ServiceError(error) if error.raw().status().as_u16() == 500));
    faulty.heal();
    head().await.unwrap();
}

#[tokio::test]
async fn the_faulty_store_checks_signatures() {
    let (_faulty, mut config, _folder) = faulty_store().await;
    let access = config.access.as_mut().unwrap();
    access.secret = "not the secret".to_owned().into();
    let (store, archive) = (connect(&config).await, TestArchive::of_size(10));
    let error = upload(&store, &new_key(), &archive.upload(), &Pulse::default()).await.unwrap_err();
    assert_eq!(judge(&error).code, "store/SignatureDoesNotMatch");
}
