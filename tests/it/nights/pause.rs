//! A pause that an operator makes while the schedules are applied is kept, and so is the note.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use export_stack::shared::TestInstallation;
use export_worker::temporal::schedule::{self, Applied};
use export_workflows::contract::{EXPORT_EXPIRY, NIGHTLY_BATCH};
use futures::{FutureExt as _, future::BoxFuture};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions,
    interceptors::{ClientInterceptor, DescribeScheduleInput, DescribeScheduleOutput, Next},
    schedules::{ScheduleError, ScheduleHandle, ScheduleSpec, ScheduleUpdate},
};
use url::Url;

const QUEUE: &str = "exports-of-a-test";

/// A connection to a separate namespace, and its name.
async fn connection() -> (Connection, String) {
    let installation = TestInstallation::with_namespace().await.unwrap();
    let environment = installation.environment().await.unwrap();
    let address = Url::parse(&format!("http://{}", environment["TEMPORAL_ADDRESS"])).unwrap();
    let connection = Connection::connect(ConnectionOptions::new(address).build()).await.unwrap();
    (connection, environment["TEMPORAL_NAMESPACE"].clone())
}

/// An operator who pauses the night again after each read of a schedule, at most `times` times.
struct Operator {
    client: Client,
    times: u32,
    pauses: AtomicU32,
}

impl ClientInterceptor for Operator {
    fn describe_schedule<'a>(
        &'a self,
        input: DescribeScheduleInput,
        next: Next<'a, DescribeScheduleInput, BoxFuture<'a, Result<DescribeScheduleOutput, ScheduleError>>>,
    ) -> BoxFuture<'a, Result<DescribeScheduleOutput, ScheduleError>> {
        async move {
            let described = next.run(input).await?;
            if self.pauses.load(Ordering::Relaxed) < self.times {
                let pause = self.pauses.fetch_add(1, Ordering::Relaxed) + 1;
                let night = self.client.get_schedule_handle(NIGHTLY_BATCH);
                night.pause(Some(format!("pause {pause}")), Default::default()).await?;
                // Reading it waits until the pause has taken effect.
                assert!(night.describe(Default::default()).await?.paused());
            }
            Ok(described)
        }
        .boxed()
    }
}

/// Returns a client whose every read is followed by a pause, and an undisturbed one.
async fn disturbed(times: u32) -> (Client, Client) {
    let (connection, namespace) = connection().await;
    let client = Client::new(connection.clone(), ClientOptions::new(namespace.clone()).build()).unwrap();
    schedule::apply(&client, QUEUE).await.unwrap();
    let operator = Operator { client: client.clone(), times, pauses: AtomicU32::new(0) };
    let options = ClientOptions::new(namespace).client_interceptors(vec![Arc::new(operator)]).build();
    (Client::new(connection, options).unwrap(), client)
}

fn at_half_past_four(update: &mut ScheduleUpdate) {
    update.set_spec(ScheduleSpec::builder().cron_strings(vec!["30 4 * * *".to_owned()]).build());
}

fn night(client: &Client) -> ScheduleHandle<Client> {
    client.get_schedule_handle(NIGHTLY_BATCH)
}

#[tokio::test]
async fn a_pause_between_the_reading_and_the_update_is_kept_and_the_update_is_made_all_the_same() {
    let (applying, client) = disturbed(2).await;
    night(&client).update(at_half_past_four, Default::default()).await.unwrap();
    let applied = schedule::apply(&applying, QUEUE).await.unwrap();
    assert_eq!(applied, [(NIGHTLY_BATCH, Applied::Updated), (EXPORT_EXPIRY, Applied::Updated)]);
    let state = &schedule::show(&client, QUEUE).await.unwrap()[0];
    assert!(state.as_defined, "{:?}", state.differences);
    assert!(state.paused, "applying undid a pause");
    assert_eq!(state.note.as_deref(), Some("pause 2"));
}

#[tokio::test]
async fn an_update_without_a_token_would_undo_that_pause() {
    let (applying, client) = disturbed(1).await;
    let described = night(&applying).describe(Default::default()).await.unwrap();
    assert!(night(&client).describe(Default::default()).await.unwrap().paused());
    night(&client).send_update(described.into_update(), Default::default()).await.unwrap();
    assert!(!night(&client).describe(Default::default()).await.unwrap().paused());
}

#[tokio::test]
async fn one_who_changes_the_schedule_without_end_makes_applying_give_up_and_loses_nothing() {
    let (applying, client) = disturbed(u32::MAX).await;
    night(&client).update(at_half_past_four, Default::default()).await.unwrap();
    let error = schedule::apply(&applying, QUEUE).await.unwrap_err();
    assert!(format!("{error:#}").contains("another client changed it"), "{error:#}");
    let state = &schedule::show(&client, QUEUE).await.unwrap()[0];
    assert!(state.paused && !state.as_defined);
}
