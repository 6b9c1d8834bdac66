//! A real OpenID provider, oidc-provider on Node.js, for one test.

use std::process::Stdio;

use export_stack::{servers::versitygw, tools, wait};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::{issuer_of::AUDIENCE, night_of::SOON};

pub(crate) struct Provider {
    pub(crate) issuer: String,
    http: reqwest::Client,
    _process: Child,
    /// It ends when it cannot write its notices.
    _notices: Lines<BufReader<ChildStdout>>,
}

/// The tokens of a person.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) id: String,
}

impl Provider {
    pub(crate) async fn new() -> Self {
        let modules = tools::root().join(".tools/bench/provider");
        let mut command = Command::new("node");
        // Modules are looked for where it runs.
        command.args(["--input-type=module", "--eval", include_str!("../portal/provider/provider.mjs")]);
        command.current_dir(&modules).env("AUDIENCE", AUDIENCE).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let missing = format!("`{}` or node is missing: run tools/setup readers", modules.display());
        let mut process = command.spawn().expect(&missing);
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = wait::within("the OpenID provider", SOON, lines.next_line()).await.unwrap().unwrap();
        let http = versitygw::http().unwrap();
        Self { issuer: first.expect(&missing), http, _process: process, _notices: lines }
    }

    /// Signs a person in. `algorithm` is the client, which has its access tokens signed so.
    pub(crate) async fn sign_in(&self, algorithm: &str, user: &str) -> Tokens {
        let asked = [("scope", "openid exports"), ("login_hint", user), ("resource", AUDIENCE)];
        let asked = self.post("backchannel", algorithm, &asked).await;
        let got = [
            ("grant_type", "urn:openid:params:grant-type:ciba"),
            ("auth_req_id", asked["auth_req_id"].as_str().unwrap()),
            ("resource", AUDIENCE),
        ];
        let got = self.post("token", algorithm, &got).await;
        let text = |name: &str| got[name].as_str().unwrap().to_owned();
        Tokens { access: text("access_token"), id: text("id_token") }
    }

    /// Returns the access token of a program.
    pub(crate) async fn program(&self, algorithm: &str) -> String {
        let asked = [("grant_type", "client_credentials"), ("scope", "exports"), ("resource", AUDIENCE)];
        let got = self.post("token", algorithm, &asked).await;
        got["access_token"].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, client: &str, form: &[(&str, &str)]) -> Value {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let call = self.http.post(format!("{}/{path}", self.issuer)).basic_auth(client, Some("secret"));
        let call = call.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = call.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}
