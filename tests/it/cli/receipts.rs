//! Receipts from the key to the verified archive: what a worker signs, and what `verify` makes of it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use export_stack::servers::worker;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{Nights, kill, until_said},
};

/// An installation with a key, and a folder for what people save.
struct Signed {
    nights: Nights,
    folder: tempfile::TempDir,
}

impl Signed {
    async fn new() -> Self {
        let mut signed = Self { nights: Nights::new().await, folder: tempfile::tempdir().unwrap() };
        let made = signed.command(&["receipt", "key", &signed.path("key.pem")]).await.unwrap();
        signed.save("key.json", &made);
        let key = signed.path("key.pem");
        signed.nights.environment.insert("EXPORT_RECEIPT_KEY_FILE".to_owned(), key);
        signed
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn save(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    async fn command(&self, arguments: &[&str]) -> Result<String, String> {
        worker::command(&self.nights.environment, arguments).await.map_err(|error| error.to_string())
    }

    /// Fulfils a request of a new user in a night. Saves its archive under its id.
    async fn deliver(&self, settings: &[(&str, &str)]) -> Uuid {
        let request = self.nights.request(given::user_with_project(&self.nights.owner).await).await;
        let worker = self.nights.worker(settings).await;
        until_said(&worker, "Polling task queue").await;
        self.nights.night().await;
        kill(&worker).await;
        self.save(&format!("{request}.zip"), given::download(&self.nights.owner, request).await);
        request
    }

    async fn verify(&self, archive: Uuid, receipt: &str, keys: &str) -> Result<String, String> {
        let (archive, receipt, keys) =
            (self.path(&format!("{archive}.zip")), self.path(receipt), self.path(keys));
        self.command(&["verify", &archive, "--receipt", &receipt, "--receipt-key", &keys]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_verified_with_its_receipt_and_with_no_other() {
    let signed = Signed::new().await;
    let (one, other) = (signed.deliver(&[]).await, signed.deliver(&[]).await);
    for request in [one, other] {
        let receipt = signed.command(&["receipt", "show", &request.to_string()]).await.unwrap();
        signed.save(&format!("{request}.jws"), receipt);
    }
    let (of_one, of_other) = (format!("{one}.jws"), format!("{other}.jws"));
    let said = signed.verify(one, &of_one, "key.json").await.unwrap();
    assert!(said.contains("this very file was delivered by urn:uuid:"), "{said}");
    let error = signed.verify(one, &of_other, "key.json").await.unwrap_err();
    assert!(error.contains("is not the archive of the receipt: its SHA-256 is "), "{error}");

    // Another key, and a set that has both.
    let made = signed.command(&["receipt", "key", &signed.path("new.pem")]).await.unwrap();
    signed.save("new.json", &made);
    let error = signed.verify(one, &of_one, "new.json").await.unwrap_err();
    assert!(error.contains("it is signed by a key that is not given"), "{error}");
    let keys = ["new.json", "key.json"].map(|file| -> Value {
        serde_json::from_str(&fs::read_to_string(signed.path(file)).unwrap()).unwrap()
    });
    signed.save("keys.json", json!({"keys": keys}).to_string());
    signed.verify(one, &of_one, "keys.json").await.unwrap();

    // A new one has the log of accesses as well.
    sqlx::query("insert into public.data_export_accesses (request_id, actor_as, action) values ($1, 'owner', 'linked')")
        .bind(one)
        .execute(&signed.nights.owner)
        .await
        .unwrap();
    let fuller = signed.command(&["receipt", "show", &one.to_string(), "--accesses"]).await.unwrap();
    signed.save("fuller.jws", fuller);
    let said = signed.verify(one, "fuller.jws", "key.json").await.unwrap();
    assert!(said.lines().any(|line| line.starts_with("linked ") && line.ends_with("(owner)")), "{said}");
    let (_, line) = signed.nights.doctor("receipts").await;
    assert!(
        line["state"] == "ok" && line["found"].as_str().unwrap().starts_with("signed by the key "),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_no_receipt_and_a_forgotten_user_is_in_none() {
    let signed = Signed::new().await;
    let with = signed.deliver(&[]).await;
    let without = signed.deliver(&[("EXPORT_RECEIPT_KEY_FILE", "")]).await;
    let show = async |request: Uuid| signed.command(&["receipt", "show", &request.to_string()]).await;
    assert!(show(with).await.is_ok());
    assert!(
        show(without)
            .await
            .unwrap_err()
            .contains("has no receipt: its worker had no EXPORT_RECEIPT_KEY_FILE")
    );
    assert!(show(Uuid::nil()).await.unwrap_err().contains("there is no request"));
    let pending = signed.nights.request(given::user(&signed.nights.owner).await).await;
    assert!(show(pending).await.unwrap_err().contains("nothing was delivered"));

    let changed = sqlx::query("update public.data_export_requests set receipt = 'x' where id = $1")
        .bind(with)
        .execute(&signed.nights.owner)
        .await;
    assert!(changed.unwrap_err().to_string().contains("the receipt of an export never changes"));
    let user: String = sqlx::query_scalar("select user_id from public.data_export_requests where id = $1")
        .bind(with)
        .fetch_one(&signed.nights.owner)
        .await
        .unwrap();
    signed.command(&["request", "forget", "--user", &user]).await.unwrap();
    assert!(show(with).await.unwrap_err().contains("its user was forgotten"));
    let fuller = signed.command(&["receipt", "show", &with.to_string(), "--accesses"]).await;
    assert!(fuller.unwrap_err().contains("its user was forgotten"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_once_for_its_owner_and_a_wrong_one_is_refused_at_the_start() {
    let mut signed = Signed::new().await;
    let mode = |name: &str| fs::metadata(Path::new(&signed.path(name))).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("key.pem"), 0o600);
    let error = signed.command(&["receipt", "key", &signed.path("key.pem")]).await.unwrap_err();
    assert!(error.contains("failed to write the key to"), "{error}");
    fs::set_permissions(signed.path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let (_, line) = signed.nights.doctor("receipts").await;
    assert!(line["state"] == "warning" && line["remedy"].as_str().unwrap().contains("chmod 600"), "{line}");
    signed.save("wrong.pem", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
    for (file, why) in
        [("wrong.pem", "none of Ed25519"), ("absent.pem", "cannot be read"), ("key.json", "no PEM block")]
    {
        let path = signed.path(file);
        signed.nights.environment.insert("EXPORT_RECEIPT_KEY_FILE".to_owned(), path);
        let error = signed.command(&["run"]).await.unwrap_err();
        assert!(
            error.contains("exit status: 2") && error.contains(why) && !error.contains("c2Vj"),
            "{error}"
        );
        let (code, line) = signed.nights.doctor("receipts").await;
        assert_eq!((code, &line["state"]), (Some(1), &json!("failed")), "{line}");
    }
    signed.nights.environment.remove("EXPORT_RECEIPT_KEY_FILE");
    let (_, line) = signed.nights.doctor("receipts").await;
    assert_eq!(line["state"], "skipped", "{line}");
    let error = signed.command(&["verify", "a.zip", "--receipt", "r.jws"]).await.unwrap_err();
    assert!(error.contains("--receipt-key"), "{error}");
}
