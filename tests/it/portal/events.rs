//! The live view: each change arrives, whatever is between the caller and the portal, and no stream hangs.

use std::{path::PathBuf, time::Duration};

use export_stack::{
    instruments::proxy::{Mode, Proxy},
    servers::postgres::Role,
    shared::stack,
    supervisor::{
        Process,
        protocol::{Program, Signal},
    },
    tools, wait,
};
use export_workflows::contract::Outcome;
use futures::{StreamExt as _, future::join_all, stream::BoxStream};
use reqwest::{Method, Response, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    installation_of::{self, installation},
    night_of::{SOON, kill},
    portal_of::{self, Portal, code, read},
    servers::proxied,
};

/// One event, or a comment.
#[derive(Debug, Default, PartialEq)]
struct Event {
    id: Option<String>,
    data: Value,
    retry: Option<u64>,
    comment: Option<String>,
}

struct Events {
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: String,
}

impl Events {
    async fn of(answer: Response) -> Self {
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert!(answer.headers().get("content-encoding").is_none());
        let bytes = answer.bytes_stream().map(|bytes| bytes.map(|bytes| bytes.to_vec())).boxed();
        Self { bytes, text: String::new() }
    }

    async fn open(portal: &Portal, id: Uuid, token: &str) -> Self {
        Self::of(portal.get(&format!("/v1/exports/{id}/events"), token).send().await.unwrap()).await
    }

    /// Returns the next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        let next = wait::within("an event", SOON, self.read()).await;
        next.unwrap()
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (parse(event), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            // A replica that is killed ends the stream with an error.
            let bytes = self.bytes.next().await?.ok()?;
            self.text.push_str(&String::from_utf8(bytes).unwrap());
        }
    }

    /// Waits for an event with this status.
    async fn until(&mut self, status: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream ended");
            if event.data["status"] == status {
                return event;
            }
        }
    }

    /// Reads to the end, which must come.
    async fn end(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        match line.split_once(':').unwrap_or((line, "")) {
            ("id", value) => event.id = Some(value.trim().to_owned()),
            ("data", value) => event.data = serde_json::from_str(value).unwrap(),
            ("retry", value) => event.retry = value.trim().parse().ok(),
            ("", value) => event.comment = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_tabs_see_the_present_state_first_and_then_each_change() {
    let portal = Portal::new().await;
    let token = portal.person(installation_of::user(&portal.given.owner).await).await;
    let id = portal.ask(&token).await;
    let mut tabs = join_all((0..8).map(|_| Events::open(&portal, id, &token))).await;
    for tab in &mut tabs {
        let first = tab.next().await.unwrap();
        assert_eq!((&first.data["status"], &first.data["id"]), (&json!("pending"), &json!(id)));
        assert!(first.id.is_some());
    }
    portal.fulfil(id).await;
    let ready = join_all(tabs.iter_mut().map(|tab| tab.until("ready"))).await;
    assert!(ready.iter().all(|event| event.id == ready[0].id && event.id.is_some()));
    portal.withdraw(id, &token).send().await.unwrap();
    // After the last change there is nothing to wait for, so the stream ends.
    let last = join_all(tabs.into_iter().map(Events::end)).await;
    let last_id = last[0][0].id.clone().unwrap();
    assert!(last.iter().all(|events| events.len() == 1 && events[0].data["reason"] == "withdrawn"));
    let path = format!("/v1/exports/{id}/events");
    let known = portal.get(&path, &token).header("last-event-id", last_id).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NO_CONTENT);
    let unknown = portal.get(&path, &token).header("last-event-id", "older").send().await.unwrap();
    assert_eq!(Events::of(unknown).await.end().await.len(), 1);
    let other = portal.person("8").await;
    assert_eq!(code(portal.get(&path, &other).send().await.unwrap()).await, "404 not_found");
}

/// Starts nginx with its own defaults, which buffer, before a portal. Returns its address.
async fn nginx_before(portal: &Portal, folder: &std::path::Path) -> (Process, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (folder, upstream) = (folder.display(), &portal.url);
    let configuration = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;
         events {{}}
         http {{
             access_log off;
             client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
             uwsgi_temp_path {folder}; scgi_temp_path {folder};
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {upstream}; }} }}
         }}"
    );
    let file = format!("{folder}/nginx.conf");
    std::fs::write(&file, configuration).unwrap();
    let path =
        ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().map(PathBuf::from).find(|path| path.exists());
    let process = stack().await.unwrap().supervisor().run(Program {
        name: format!("nginx-{port}"),
        path: path.or_else(|| tools::on_path("nginx")).expect("nginx is missing: run `make readers`"),
        arguments: vec!["-c".to_owned(), file],
        ..Program::default()
    });
    (process.unwrap().kill_on_drop(), format!("http://127.0.0.1:{port}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_a_proxy_that_buffers_as_they_come() {
    let portal = Portal::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, url) = nginx_before(&portal, folder.path()).await;
    let token = portal.person(installation_of::user(&portal.given.owner).await).await;
    let id = portal.ask(&token).await;
    let opened = wait::until("nginx", SOON, || async {
        Ok(portal.http.get(format!("{url}/v1/exports/{id}/events")).bearer_auth(&token).send().await.ok())
    });
    let mut events = Events::of(opened.await.unwrap()).await;
    assert_eq!(events.next().await.unwrap().data["status"], "pending");
    portal.fulfil(id).await;
    events.until("ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_costs_a_new_call_and_nothing_else() {
    let portal = Portal::new().await;
    let token = portal.person(installation_of::user(&portal.given.owner).await).await;
    let id = portal.ask(&token).await;
    let second = portal_of::start(&portal.environment).await;
    let url = portal_of::address(&second).await;
    let mut events = Events::open(&portal, id, &token).await;
    let first = events.next().await.unwrap();
    kill(&portal.process).await;
    assert!(events.next().await.is_none(), "the stream ends");
    portal.fulfil(id).await;
    let again = portal.http.get(format!("{url}/v1/exports/{id}/events")).bearer_auth(&token);
    let again = again.header("last-event-id", first.id.unwrap()).send().await.unwrap();
    let mut again = Events::of(again).await;
    assert_eq!(again.next().await.unwrap().data["status"], "ready", "the first event is the present state");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_session_and_when_the_replica_stops() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    let id = portal.ask(&token).await;
    let stopping = Events::open(&portal, id, &token).await;
    sqlx::query("update public.data_export_sessions set expires_at = now() + interval '2 seconds'")
        .execute(&portal.given.owner)
        .await
        .unwrap();
    let short = Events::open(&portal, id, &token).await.end().await;
    assert_eq!(short.len(), 2, "{short:?}");
    assert!(short[1].retry.is_some_and(|retry| (1000..10_000).contains(&retry)), "{short:?}");
    let refused = portal.get(&format!("/v1/exports/{id}/events"), &token).send().await.unwrap();
    assert_eq!(code(refused).await, "401 unauthenticated");
    portal.process.signal(Signal::Terminate).unwrap();
    let stopped = stopping.end().await;
    assert!(stopped.last().unwrap().retry.is_some(), "{stopped:?}");
    let ending = portal.process.ended(SOON).await.unwrap();
    assert!(ending.is_success(), "{ending}; {}", portal.process.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_streams_end_and_readiness_says_so() {
    let given = installation().await;
    let url = given.database.url(Role::Portal).await.unwrap();
    let (proxy, url): (Proxy, String) = proxied(url.expose_secret()).await;
    let portal = Portal::on(given, &[("EXPORT_PORTAL_DATABASE_URL", url.as_str())]).await;
    let token = portal.person(installation_of::user(&portal.given.owner).await).await;
    let id = portal.ask(&token).await;
    let mut events = Events::open(&portal, id, &token).await;
    events.next().await.unwrap();
    proxy.set(Mode::Cut);
    let ended = events.end().await;
    assert!(ended.last().unwrap().retry.is_some(), "{ended:?}");
    assert_eq!(
        portal.call(Method::GET, "/readyz").send().await.unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    proxy.set(Mode::Pass);
    portal.fulfil(id).await;
    let back = wait::until("the stream to be back", SOON, || async {
        let answer = portal.get(&format!("/v1/exports/{id}/events"), &token).send().await?;
        Ok((answer.status() == StatusCode::OK).then_some(answer))
    });
    let mut events = Events::of(back.await.unwrap()).await;
    events.until("ready").await;
    // And a change that comes later arrives, too.
    portal.withdraw(id, &token).send().await.unwrap();
    events.until("failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_willing_to_wait_is_answered_at_the_change() {
    let portal = Portal::new().await;
    let token = portal.person(installation_of::user(&portal.given.owner).await).await;
    let id = portal.ask(&token).await;
    let path = format!("/v1/exports/{id}");
    let now = portal.get(&path, &token).header("prefer", "wait=30").send().await.unwrap();
    assert_eq!(now.headers()["preference-applied"], "wait=30");
    let etag = now.headers()["etag"].clone();
    let unchanged = portal.get(&path, &token).header("if-none-match", &etag).header("prefer", "wait=1");
    assert_eq!(unchanged.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let waiting = portal.get(&path, &token).header("if-none-match", &etag).header("prefer", "wait=30").send();
    let (answer, ()) = tokio::join!(waiting, portal.fulfil(id));
    let (status, body) = read(answer.unwrap()).await;
    // The claim is a change, too.
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body["running"] == true || body["status"] == "ready", "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_goes_up_and_is_whole_only_when_the_export_is_ready() {
    let given = installation().await;
    let user = installation_of::user_with_project(&given.owner).await;
    sqlx::query(
        "insert into public.features (project_id, number, title)
         select p.id, n, 'a feature' from public.projects p, generate_series(1, 40000) n where p.owner_id = $1",
    )
    .bind(user)
    .execute(&given.owner)
    .await
    .unwrap();
    // A slow line to the source, so that there is time to look.
    let url = given.database.url(Role::Read).await.unwrap();
    let (proxy, slow) = proxied(url.expose_secret()).await;
    let slow = installation_of::source(&slow.into(), 4);
    sqlx::query("update public.data_export_policy set ask_every = interval '0'")
        .execute(&given.owner)
        .await
        .unwrap();
    let mut portal = Portal::on(given, &[]).await;
    let token = portal.person(user).await;
    // The first export says how large the second will be.
    let first = portal.ask(&token).await;
    portal.fulfil(first).await;
    portal.given.steps.source = slow;
    proxy.set(Mode::Delay(Duration::from_millis(60)));
    let id = portal.ask(&token).await;
    let mut events = Events::open(&portal, id, &token).await;
    let watch = async {
        let mut percents = Vec::new();
        loop {
            let event = events.next().await.expect("the stream ended");
            let progress = &event.data["progress"];
            if event.data["status"] == "ready" {
                return percents;
            }
            if let Some(percent) = progress["percent"].as_u64() {
                assert!(progress["entities"]["features"].as_u64().is_some(), "{progress}");
                assert_eq!(progress["attempt"], 1);
                percents.push(percent);
            }
        }
    };
    let (percents, ()) = tokio::join!(watch, portal.fulfil(id));
    assert!(percents.len() >= 2 && percents.is_sorted(), "{percents:?}");
    assert!(percents.iter().all(|percent| *percent < 100) && percents[0] > 0, "{percents:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_taken_back_stops_reading_and_leaves_no_object() {
    let mut given = installation().await;
    let user = installation_of::user_with_project(&given.owner).await;
    sqlx::query(
        "insert into public.features (project_id, number, title)
         select p.id, n, 'a feature' from public.projects p, generate_series(1, 40000) n where p.owner_id = $1",
    )
    .bind(user)
    .execute(&given.owner)
    .await
    .unwrap();
    let url = given.database.url(Role::Read).await.unwrap();
    let (proxy, slow) = proxied(url.expose_secret()).await;
    given.steps.source = installation_of::source(&slow.into(), 4);
    proxy.set(Mode::Delay(Duration::from_secs(1)));
    let portal = Portal::on(given, &[]).await;
    let token = portal.person(user).await;
    let id = portal.ask(&token).await;
    let mut events = Events::open(&portal, id, &token).await;
    let attempt = installation_of::attempt(id, 1);
    let serving = installation_of::serve(&portal.given.steps, &attempt);
    let reads = "select count(*) from pg_catalog.pg_stat_activity
                 where usename = 'export_read' and datname = current_database() and state <> 'idle'";
    let superuser = portal.given.database.pool(Role::Superuser).await.unwrap();
    let taken_back = async {
        loop {
            let event = events.next().await.expect("the stream ended");
            if !event.data["progress"].is_null() {
                break;
            }
        }
        wait::until("the query, which is the control", SOON, || async {
            let reading: i64 = sqlx::query_scalar(reads).fetch_one(&superuser).await?;
            Ok((reading == 1).then_some(()))
        })
        .await
        .unwrap();
        portal.withdraw(id, &token).send().await.unwrap();
        events.until("failed").await;
        wait::until("the query to be gone", Duration::from_secs(10), || async {
            let reading: i64 = sqlx::query_scalar(reads).fetch_one(&superuser).await?;
            Ok((reading == 0).then_some(()))
        })
        .await
        .unwrap();
    };
    let (served, ()) = tokio::join!(serving, taken_back);
    assert!(matches!(served, Ok(Outcome::Superseded | Outcome::AlreadyDone)), "{served:?}");
    assert_eq!(installation_of::objects(&portal.given.store).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_does_not_take_all_streams_and_an_ended_session_sees_nothing_more() {
    let portal = Portal::new().await;
    let token = portal.person(installation_of::user(&portal.given.owner).await).await;
    let id = portal.ask(&token).await;
    let path = format!("/v1/exports/{id}/events");
    let mut tabs = join_all((0..20).map(|_| Events::open(&portal, id, &token))).await;
    let refused = portal.get(&path, &token).send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(code(refused).await, "503 too_many_streams");
    // Another caller goes on, and a closed tab makes room.
    let mut backend = Events::open(&portal, id, &portal.key).await;
    backend.next().await.unwrap();
    drop(tabs.pop());
    let room = wait::until("room for a stream", SOON, || async {
        Ok((portal.get(&path, &token).send().await?.status() == StatusCode::OK).then_some(()))
    });
    room.await.unwrap();
    for tab in &mut tabs {
        tab.next().await.unwrap();
    }
    portal.delete("/v1/sessions/current", &token).send().await.unwrap();
    portal.fulfil(id).await;
    backend.until("ready").await;
    for events in join_all(tabs.into_iter().map(Events::end)).await {
        assert!(events.iter().all(|event| event.data["status"] != "ready"), "{events:?}");
    }
}
