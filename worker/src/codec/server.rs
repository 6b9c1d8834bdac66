//! Temporal's remote codec protocol: the Web UI and the Temporal CLI send payloads here, and show the decoded answer.
//!
//! The server uses neither the database nor Temporal. A caller with the token can read every payload, so the server
//! requires a token. A browser may call only from the configured origins.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use tokio::net::TcpListener;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::Codec;

/// Allowed callers and origins.
#[derive(Debug)]
pub struct Access {
    /// Token that a caller must send.
    pub token: SecretString,
    /// The addresses of the Web UI, such as `https://temporal.example.com`.
    pub origins: Vec<HeaderValue>,
}

struct CodecState {
    codec: Codec,
    token: SecretString,
}

/// Listens. Returns the address, and the future that serves until it is dropped.
pub async fn listen(
    address: SocketAddr,
    codec: Codec,
    access: Access,
) -> Result<(SocketAddr, impl Future<Output = std::io::Result<()>>)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen at {address}: set EXPORT_CODEC_ADDR to an address of this machine and a free port"
        )
    })?;
    let at = listener.local_addr()?;
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(access.origins))
        .allow_methods([Method::POST])
        .allow_headers([
            CONTENT_TYPE,
            AUTHORIZATION,
            HeaderName::from_static("authorization-extras"),
            HeaderName::from_static("x-namespace"),
        ]);
    let router = Router::new()
        .route("/{direction}", post(by_header))
        // The Web UI sends only the token of its own login. Without a login, its endpoint contains our token.
        .route("/{token}/{direction}", post(by_path))
        .layer(cors)
        .with_state(Arc::new(CodecState { codec, token: access.token }));
    Ok((at, async move { axum::serve(listener, router).await }))
}

async fn by_header(
    State(state): State<Arc<CodecState>>,
    Path(direction): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    answer(&state, token.and_then(|value| value.strip_prefix("Bearer ")), &direction, &body)
}

async fn by_path(
    State(state): State<Arc<CodecState>>,
    Path((token, direction)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    answer(&state, Some(&token), &direction, &body)
}

fn answer(state: &CodecState, token: Option<&str>, direction: &str, body: &Bytes) -> Response {
    let refuse = |status: StatusCode, sentence: String| (status, format!("{sentence}\n")).into_response();
    // Compare digests, so that the duration reveals nothing of the token.
    let same = |token: &str| Sha256::digest(token) == Sha256::digest(state.token.expose_secret());
    if !token.is_some_and(same) {
        let sentence = "send `Authorization: Bearer` with the token of EXPORT_CODEC_TOKEN".to_owned();
        return refuse(StatusCode::UNAUTHORIZED, sentence);
    }
    let turn: &dyn Fn(Payload) -> Result<Payload> = match direction {
        "decode" => &|payload| state.codec.decrypt(payload),
        "encode" => &|payload| state.codec.encrypt(&payload),
        _ => return refuse(StatusCode::NOT_FOUND, "there are /encode and /decode".to_owned()),
    };
    let Ok(Payloads { payloads }) = serde_json::from_slice(body) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "send {\"payloads\": [...]}, as Temporal's clients do".to_owned(),
        );
    };
    match payloads.into_iter().map(turn).collect::<Result<Vec<_>>>() {
        Ok(payloads) => match serde_json::to_vec(&Payloads { payloads }) {
            Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written".to_owned()),
        },
        Err(error) => refuse(StatusCode::BAD_REQUEST, error.to_string()),
    }
}
