//! What happens around every call: its id, its time limit, panics, headers, and callers of other origins.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
    set_header::SetResponseHeaderLayer,
};
use uuid::Uuid;

use crate::{
    Portal,
    problem::{Code, Problem},
};

/// The longest body: the largest one of the API has a few hundred bytes, or the ids of fifty members.
pub(crate) const LONGEST_BODY: usize = 16 * 1024;
/// Time limit of a call, from its head to the head of its answer. The proxy before the portal limits the time until then.
const CALL: Duration = Duration::from_secs(45);
const PREFLIGHT: Duration = Duration::from_secs(600);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static ID: String;
}

/// Returns the id of the call that is being answered.
pub(crate) fn request_id() -> String {
    ID.try_with(Clone::clone).unwrap_or_else(|_| Uuid::new_v4().to_string())
}

/// Puts the layers around all routes.
pub(crate) fn around(router: Router<Arc<Portal>>, portal: &Portal) -> Router<Arc<Portal>> {
    let always = |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    router
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors(&portal.settings.origins))
        .layer(always(header::CACHE_CONTROL, "no-store"))
        .layer(always(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(always(header::REFERRER_POLICY, "no-referrer"))
        .layer(middleware::from_fn(identified))
}

/// Gives the call an id, which its problem and its log lines have, too, and a time limit.
async fn identified(request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = given.filter(|id| is_id(id)).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let answered = ID.scope(id.clone(), async {
        tokio::time::timeout(CALL, next.run(request)).await.unwrap_or_else(|_| {
            Problem::new(Code::RequestTimeout, "The request did not arrive in time. Send it again.")
                .into_response()
        })
    });
    let mut answer = answered.await;
    if let Ok(id) = HeaderValue::try_from(id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The panic itself is logged by the hook, without its message.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(
        Code::Internal,
        "This is a mistake of the export service. Quote the reference to its support.",
    )
    .into_response()
}

/// Pages of other origins send a token and never the cookie.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("prefer"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
            HeaderName::from_static("preference-applied"),
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            REQUEST_ID,
        ])
        .max_age(PREFLIGHT)
}
