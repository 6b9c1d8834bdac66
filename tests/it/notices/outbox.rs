//! The outbox: written with the move of which it tells, taken once, and kept from those who have no business with it.

use export_activities::requests::operate;
use export_notices::outbox::{self, Channel, NoticeState};
use export_stack::servers::postgres::Role;
use futures::future::join_all;

use crate::support::{
    installation_of::{self as given, installation},
    notices_of::{self as notices, deliver, until_shown, webhooks, with_channels},
    receiver::Receiver,
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_until_a_channel_is_on_and_what_is_due_goes_when_it_is_turned_off() {
    let given = installation().await;
    let state = &given.steps.state;
    let quiet = given::request(&given.owner, given::user(&given.owner).await).await;
    assert!(notices::shown(&given, quiet).await.is_empty());

    for channel in Channel::ALL {
        outbox::switch(state, channel, true).await.unwrap();
    }
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    notices::fulfil(&given, request).await;
    assert_eq!(
        notices::shown(&given, request).await,
        [
            "mail ready due",
            "mail reminder due",
            "mail requested due",
            "webhook ready due",
            "webhook requested due"
        ]
    );
    assert_eq!(outbox::switch(state, Channel::Mail, false).await.unwrap(), 3);
    assert_eq!(notices::shown(&given, request).await[0], "mail ready dropped off");
    let other = given::request(&given.owner, given::user(&given.owner).await).await;
    assert_eq!(notices::shown(&given, other).await, ["webhook requested due"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_rolled_back_leaves_no_notice() {
    let given = with_channels(&[Channel::Webhook]).await;
    let mut transaction = given.owner.begin().await.unwrap();
    sqlx::query("insert into public.data_export_requests (user_id) values ('7')")
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    assert!(outbox::list(&given.steps.state, None, None, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_share_the_notices_and_send_each_once() {
    const REQUESTS: usize = 100;
    let given = with_channels(&[Channel::Webhook]).await;
    let receiver = Receiver::new().await;
    let requests = join_all((0..REQUESTS).map(|user| given::request(&given.owner, user))).await;
    let deliveries: Vec<_> = (0..3).map(|_| deliver(&given, webhooks(&receiver.url()))).collect();
    for request in requests {
        until_shown(&given, request, "webhook requested sent").await;
    }
    for mut delivery in deliveries {
        delivery.stop.cancel();
        (&mut delivery.running).await.unwrap();
    }
    let mut ids: Vec<_> = receiver.got().iter().map(|webhook| webhook.id().to_owned()).collect();
    assert_eq!(ids.len(), REQUESTS);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_can_be_sent_again_and_what_is_dead_dropped() {
    let given = with_channels(&[Channel::Webhook]).await;
    let state = &given.steps.state;
    let receiver = Receiver::new().await;
    let _delivery = deliver(&given, webhooks(&receiver.url()));
    let before = chrono::Utc::now();
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    until_shown(&given, request, "webhook requested sent").await;
    assert_eq!(
        outbox::replay(state, Channel::Webhook, before + chrono::TimeDelta::hours(1)).await.unwrap(),
        0
    );
    assert_eq!(outbox::replay(state, Channel::Mail, before).await.unwrap(), 0);
    assert_eq!(outbox::replay(state, Channel::Webhook, before).await.unwrap(), 1);
    let got = receiver.until_got(2).await;
    assert_eq!(got[0].id(), got[1].id());
    until_shown(&given, request, "webhook requested sent").await;

    sqlx::query("update public.data_export_notices set state = 'dead', code = 'http_500'")
        .execute(&given.owner)
        .await
        .unwrap();
    assert_eq!(outbox::list(state, Some(NoticeState::Dead), None, 10).await.unwrap().len(), 1);
    assert_eq!(outbox::drop_dead(state, Some(Channel::Mail), None).await.unwrap(), 0);
    assert_eq!(outbox::drop_dead(state, Some(Channel::Webhook), None).await.unwrap(), 1);
    assert_eq!(notices::shown(&given, request).await, ["webhook requested dropped by_hand"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_notices_go_after_ninety_days_and_the_others_with_their_event() {
    let given = with_channels(&[Channel::Webhook]).await;
    for user in 0..2 {
        given::request(&given.owner, user).await;
    }
    sqlx::raw_sql(
        "update public.data_export_notices n set state = 'sent', ended_at = now() - interval '91 days'
         from public.data_export_events e, public.data_export_requests r
         where e.id = n.event_id and r.id = e.request_id and r.user_id = '0'",
    )
    .execute(&given.owner)
    .await
    .unwrap();
    let list = async || outbox::list(&given.steps.state, None, None, 10).await.unwrap();
    operate::prune_events(&given.steps.state).await.unwrap();
    assert_eq!(list().await.iter().map(|notice| notice.state).collect::<Vec<_>>(), [NoticeState::Due]);
    sqlx::raw_sql(
        "alter table public.data_export_events disable trigger data_export_events_keep;
         update public.data_export_events set at = now() - interval '25 months';
         alter table public.data_export_events enable trigger data_export_events_keep",
    )
    .execute(&given.owner)
    .await
    .unwrap();
    operate::prune_events(&given.steps.state).await.unwrap();
    assert!(list().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portal_reads_no_notice_and_the_worker_writes_none() {
    let given = with_channels(&[Channel::Webhook]).await;
    given::request(&given.owner, 7).await;
    for (role, sql) in [
        (Role::Portal, "select 1 from public.data_export_notices"),
        (Role::Portal, "update public.data_export_channels set is_on = false"),
        (
            Role::State,
            "insert into public.data_export_notices (event_id, channel, topic) values (1, 'mail', 'ready')",
        ),
        (Role::State, "update public.data_export_notices set channel = 'mail'"),
        (Role::State, "delete from public.data_export_channels"),
        (Role::Read, "select 1 from public.data_export_notices"),
    ] {
        let pool = given.database.pool(role).await.unwrap();
        let refused = sqlx::query(sql).execute(&pool).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{sql}");
    }
}
