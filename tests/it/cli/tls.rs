//! Temporal behind TLS: a certificate on both sides, an API key, a profile. A sentence reports each mistake.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex},
};

use export_stack::servers::{
    tls::{Authority, SERVER_NAME, TlsProxy, acceptor},
    worker,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::support::{installation_of as given, night_of::Nights};

type Environment = BTreeMap<String, String>;

/// Temporal behind a proxy that demands a certificate, and files with everything that a client may show.
struct Secured {
    nights: Nights,
    proxy: TlsProxy,
    folder: tempfile::TempDir,
}

async fn secured() -> Secured {
    let nights = Nights::new().await;
    let (ours, other) = (Authority::new("ours").unwrap(), Authority::new("another").unwrap());
    let upstream: SocketAddr = nights.environment["TEMPORAL_ADDRESS"].parse().unwrap();
    let proxy =
        TlsProxy::start(upstream, acceptor(&ours.sign().unwrap(), Some(&ours)).unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, pem: String| fs::write(folder.path().join(name), pem).unwrap();
    for (name, authority) in [("ours", &ours), ("other", &other)] {
        let (certificate, key) = authority.sign().unwrap().pem();
        write(&format!("{name}-ca.pem"), authority.pem());
        write(&format!("{name}-client.pem"), certificate);
        write(&format!("{name}-client.key"), key);
    }
    Secured { nights, proxy, folder }
}

impl Secured {
    /// Trusts the authority `ca`, and shows the certificate of `client`.
    fn environment(&self, ca: &str, client: Option<&str>) -> Environment {
        let file = |name: String| self.folder.path().join(name).display().to_string();
        let mut environment = self.nights.environment.clone();
        let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
        set("TEMPORAL_ADDRESS", self.proxy.address().to_string());
        set("TEMPORAL_TLS_SERVER_CA_CERT_PATH", file(format!("{ca}-ca.pem")));
        if let Some(client) = client {
            set("TEMPORAL_TLS_CLIENT_CERT_PATH", file(format!("{client}-client.pem")));
            set("TEMPORAL_TLS_CLIENT_KEY_PATH", file(format!("{client}-client.key")));
        }
        environment
    }
}

async fn error(environment: &Environment, line: &[&str]) -> String {
    format!("{:#}", worker::command(environment, line).await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_runs_over_mutual_tls() {
    let mut secured = secured().await;
    secured.nights.environment = secured.environment("ours", Some("ours"));
    let nights = &secured.nights;
    let _worker = nights.worker(&[]).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    let answer = worker::command(&nights.environment, &["night", "trigger", "--wait"]).await.unwrap();
    assert!(answer.contains("fulfilled               1"), "{answer}");
    assert_eq!(nights.status(request).await.0, "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_a_file_has_the_same_effect_and_names_the_server() {
    let secured = secured().await;
    let mut environment = secured.nights.environment.clone();
    let namespace = environment.remove("TEMPORAL_NAMESPACE").unwrap();
    environment.remove("TEMPORAL_ADDRESS");
    let profile = |server_name: &str| {
        let path = |name: &str| secured.folder.path().join(name).display().to_string();
        format!(
            "[profile.cluster]\naddress = \"{}\"\nnamespace = \"{namespace}\"\n[profile.cluster.tls]\n\
             server_name = \"{server_name}\"\nclient_cert_path = \"{}\"\nclient_key_path = \"{}\"\n\
             server_ca_cert_path = \"{}\"\n",
            secured.proxy.address(),
            path("ours-client.pem"),
            path("ours-client.key"),
            path("ours-ca.pem"),
        )
    };
    let file = secured.folder.path().join("temporal.toml");
    environment.insert("TEMPORAL_CONFIG_FILE".to_owned(), file.display().to_string());
    environment.insert("TEMPORAL_PROFILE".to_owned(), "cluster".to_owned());
    fs::write(&file, profile(SERVER_NAME)).unwrap();
    worker::command(&environment, &["schedule", "show"]).await.unwrap();
    fs::write(&file, profile("elsewhere.test")).unwrap();
    let said = error(&environment, &["schedule", "show"]).await;
    assert!(said.contains("not valid for name") && said.contains("elsewhere.test"), "{said}");
    // The file of an unknown key is refused rather than half read.
    fs::write(&file, profile(SERVER_NAME) + "client_cert = \"x\"\n").unwrap();
    let said = error(&environment, &["schedule", "show"]).await;
    assert!(
        said.contains("Temporal's configuration cannot be read") && said.contains("client_cert"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_show_who_he_is_or_does_not_trust_the_server_hears_why() {
    let secured = secured().await;
    let show = ["schedule", "show"];
    worker::command(&secured.environment("ours", Some("ours")), &show).await.unwrap();
    for (environment, cause, remedy) in [
        (secured.environment("ours", None), "demands a certificate", "TEMPORAL_TLS_CLIENT_CERT_PATH"),
        (secured.environment("ours", Some("other")), "refuses the", "TEMPORAL_TLS_CLIENT_CERT_PATH"),
        (secured.environment("other", Some("ours")), "is not trusted", "TEMPORAL_TLS_SERVER_CA_CERT_PATH"),
    ] {
        let said = error(&environment, &show).await;
        assert!(said.contains(cause) && said.contains(remedy), "{cause}: {said}");
        let doctor = error(&environment, &["doctor"]).await;
        assert!(doctor.contains(cause), "{cause}: {doctor}");
    }
    // Plain text where TLS is spoken, and the other way round.
    let mut plain = secured.nights.environment.clone();
    plain.insert("TEMPORAL_ADDRESS".to_owned(), secured.proxy.address().to_string());
    assert!(error(&plain, &show).await.contains("cannot reach Temporal"));
    let mut wrapped = secured.environment("ours", Some("ours"));
    wrapped.insert("TEMPORAL_ADDRESS".to_owned(), secured.nights.environment["TEMPORAL_ADDRESS"].clone());
    let said = error(&wrapped, &show).await;
    assert!(said.contains("does not speak TLS"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_of_temporals_settings_has_no_effect() {
    let secured = secured().await;
    let doctor = async |extra: &[(&str, &str)]| {
        let mut environment = secured.environment("ours", Some("ours"));
        environment.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        worker::command(&environment, &["doctor"]).await.unwrap_or_else(|error| error.to_string())
    };
    assert!(!doctor(&[]).await.contains("Temporal's settings"));
    let said = doctor(&[
        ("TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", "true"),
        ("TEMPORAL_CODEC_ENDPOINT", "https://codec.example.com"),
    ])
    .await;
    for part in ["TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", "TEMPORAL_CODEC_ENDPOINT", "EXPORT_CODEC_KEY_FILE"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Answers every call as a server does that does not know the key, and notes what was sent.
async fn door(acceptor: TlsAcceptor, seen: Arc<Mutex<Vec<Option<String>>>>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.ok()?;
                let mut calls = h2::server::handshake(stream).await.ok()?;
                while let Some(Ok((call, mut answer))) = calls.accept().await {
                    let key =
                        call.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
                    seen.lock().unwrap().push(key);
                    let refused = http::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "16")
                        .header("grpc-message", "the key is unknown here")
                        .body(())
                        .unwrap();
                    answer.send_response(refused, true).unwrap();
                }
                Some(())
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_sent_over_tls_and_never_shown() {
    let nights = Nights::new().await;
    let authority = Authority::new("cloud").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let seen = Arc::default();
    let address = door(acceptor(&authority.sign().unwrap(), None).unwrap(), Arc::clone(&seen)).await;
    let key = format!("key-{}", Uuid::new_v4());
    let say = async |key: Option<&str>, ca: &Path| {
        let mut environment = nights.environment.clone();
        environment.insert("TEMPORAL_ADDRESS".to_owned(), address.to_string());
        environment.insert("TEMPORAL_TLS_SERVER_CA_CERT_PATH".to_owned(), ca.display().to_string());
        environment.extend(key.map(|key| ("TEMPORAL_API_KEY".to_owned(), key.to_owned())));
        environment.insert("RUST_LOG".to_owned(), "trace".to_owned());
        error(&environment, &["schedule", "show"]).await
    };
    let said = say(Some(&key), &ca).await;
    assert!(said.contains("the key is unknown here"), "{said}");
    assert!(!said.contains(&key), "the key is shown");
    let calls = seen.lock().unwrap().split_off(0);
    assert!(
        !calls.is_empty() && calls.iter().all(|call| *call == Some(format!("Bearer {key}"))),
        "{calls:?}"
    );
    // The control: nothing is sent where there is none.
    say(None, &ca).await;
    let calls = seen.lock().unwrap().split_off(0);
    assert!(!calls.is_empty() && calls.iter().all(Option::is_none), "{calls:?}");
}
