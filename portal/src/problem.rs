//! Every answer that is not a success: a problem document (RFC 9457) with a closed code.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use export_activities::failure::{Class, judge};
use serde::Serialize;
use utoipa::ToSchema;

use crate::layers;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which a caller should try again when a server of ours is away.
const TRY_AGAIN: u64 = 5;

/// Every code, with its status and its title.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $status:ident, $title:literal;)*) => {
        /// Why a call was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Code {
            $($(#[doc = $doc])* $name,)*
        }

        impl Code {
            fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request cannot be read.
    Malformed = BAD_REQUEST, "The request cannot be read";
    /// The cursor is not from this list.
    InvalidCursor = BAD_REQUEST, "The cursor is not valid here";
    /// The caller has not signed in, or the session has ended.
    Unauthenticated = UNAUTHORIZED, "Sign in first";
    /// A member of the staff acts as the person, and may only look.
    Impersonated = FORBIDDEN, "Not while another acts as this person";
    /// The caller's roles do not allow it.
    NotAllowed = FORBIDDEN, "Not allowed";
    /// A cookie came from another origin.
    CrossOrigin = FORBIDDEN, "Called from another origin";
    /// There is no such thing, or the caller may not see it.
    NotFound = NOT_FOUND, "Not found";
    /// The export has no receipt.
    NoReceipt = NOT_FOUND, "No receipt";
    /// The route knows other methods.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "Method not allowed";
    /// The body did not arrive in time.
    RequestTimeout = REQUEST_TIMEOUT, "The request took too long";
    /// The export has not failed, so there is nothing to repeat.
    NotFailed = CONFLICT, "The export has not failed";
    /// The export is not ready yet.
    NotReady = CONFLICT, "The export is not ready";
    /// The days of the export are over.
    Expired = GONE, "The export has expired";
    /// The export was taken back.
    Withdrawn = GONE, "The export was taken back";
    /// The export failed, so it has no archive.
    Failed = GONE, "The export failed";
    /// The export has changed since it was read.
    PreconditionFailed = PRECONDITION_FAILED, "The export has changed";
    /// The body is too large.
    TooLarge = PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is not JSON.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "The body is not JSON";
    /// The idempotency key belongs to another call.
    KeyReused = UNPROCESSABLE_ENTITY, "The idempotency key was used for another call";
    /// A field or a parameter is not valid.
    Invalid = UNPROCESSABLE_ENTITY, "Not valid";
    /// The person asked a short while ago.
    TooSoon = TOO_MANY_REQUESTS, "Asked again too soon";
    /// The person has too many pending exports.
    TooMany = TOO_MANY_REQUESTS, "Too many pending exports";
    /// The organisation has too many pending exports.
    OrganisationFull = TOO_MANY_REQUESTS, "Too many pending exports in the organisation";
    /// The caller calls too often.
    SlowDown = TOO_MANY_REQUESTS, "Too many calls";
    /// A bug of ours.
    Internal = INTERNAL_SERVER_ERROR, "The processor failed";
    /// A server of ours is away.
    Unavailable = SERVICE_UNAVAILABLE, "Not available at the moment";
    /// This replica has too many streams.
    TooManyStreams = SERVICE_UNAVAILABLE, "Too many streams";
    /// This replica streams as many archives as it can.
    TooManyDownloads = SERVICE_UNAVAILABLE, "Too many downloads";
    /// No byte of the archive is in the range.
    RangeNotSatisfiable = RANGE_NOT_SATISFIABLE, "The archive is shorter";
    /// The store of the archives is away.
    StoreUnavailable = SERVICE_UNAVAILABLE, "The store does not answer at the moment";
}

/// One mistake in a body or a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Mistake {
    /// The field, as a JSON pointer; for a query, `?` and the name of the parameter.
    pub(crate) pointer: String,
    /// The mistake, and what to send instead.
    pub(crate) detail: String,
}

/// A problem document.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document {
    /// Names the code as a URI.
    r#type: String,
    /// The code in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What happened, and what to do.
    detail: String,
    /// Names this occurrence as a URI.
    instance: String,
    code: Code,
    /// What to quote to the support.
    reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<Mistake>,
}

/// Why a call is refused. Becomes a [`Document`].
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    mistakes: Vec<Mistake>,
    retry_after: Option<u64>,
    challenge: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), mistakes: Vec::new(), retry_after: None, challenge: None }
    }

    /// Refuses a body or a query because of one field.
    pub(crate) fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let mistake = Mistake { pointer: pointer.into(), detail: detail.into() };
        let detail = match mistake.pointer.as_str() {
            "" => mistake.detail.clone(),
            pointer => format!("{pointer}: {}", mistake.detail),
        };
        Self { mistakes: vec![mistake], ..Self::new(Code::Invalid, detail) }
    }

    /// Refuses a body because of several fields.
    pub(crate) fn mistakes(mistakes: Vec<Mistake>) -> Self {
        let detail = mistakes.iter().map(|mistake| format!("{}: {}", mistake.pointer, mistake.detail));
        let detail = detail.collect::<Vec<_>>().join("; ");
        Self { mistakes, ..Self::new(Code::Invalid, detail) }
    }

    /// The same for what does not exist and for what the caller may not see.
    pub(crate) fn not_found() -> Self {
        Self::new(Code::NotFound, "There is nothing here, or you may not see it.")
    }

    /// Says who may call. `why` is an error of RFC 6750 with its description, or `None` without a credential.
    pub(crate) fn unauthenticated(detail: &str, why: Option<&str>) -> Self {
        let challenge = match why {
            Some(why) => {
                format!("Bearer realm=\"data-export\", error=\"invalid_token\", error_description=\"{why}\"")
            }
            None => "Bearer realm=\"data-export\"".to_owned(),
        };
        Self { challenge: Some(challenge), ..Self::new(Code::Unauthenticated, detail) }
    }

    /// Says after how many seconds to call again.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..self }
    }

    /// A store that does not answer. The failure is logged.
    pub(crate) fn store(error: &anyhow::Error) -> Self {
        tracing::warn!(reference = layers::request_id(), error.chain = %judge(error), "The store does not answer; the caller is told to try again");
        let detail = "The archive cannot be reached at the moment. Nothing is lost: try again.";
        Self::new(Code::StoreUnavailable, detail).retry_after(TRY_AGAIN)
    }
}

/// A failure of a server of ours, or of our own code. The caller learns neither names nor values of it.
impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        let verdict = judge(&error);
        if verdict.class == Class::System {
            tracing::warn!(reference = layers::request_id(), error.chain = %verdict, "The database does not answer; the caller is told to try again");
            let detail = "The export service cannot answer at the moment. Nothing is lost: try again.";
            return Self::new(Code::Unavailable, detail).retry_after(TRY_AGAIN);
        }
        tracing::error!(reference = layers::request_id(), error.chain = %verdict, "A call failed in our own code: report this line");
        Self::new(
            Code::Internal,
            "This is a mistake of the export service. Quote the reference to its support.",
        )
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let id = layers::request_id();
        let code = serde_json::to_value(self.code).ok();
        let document = Document {
            r#type: format!(
                "urn:data-export:problem:{}",
                code.as_ref().and_then(|code| code.as_str()).unwrap_or_default()
            ),
            title: self.code.title(),
            status: status.as_u16(),
            detail: self.detail,
            instance: format!("urn:data-export:call:{id}"),
            code: self.code,
            reference: id,
            errors: self.mistakes,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut answer = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}
