//! Reads the body and the query of a call. Every mistake names its field.

use axum::body::Bytes;
use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header::CONTENT_TYPE, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::{
    layers::LONGEST_BODY,
    problem::{Code, Problem},
};

/// A body of JSON. No body at all is an empty object.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media = request.headers().get(CONTENT_TYPE).cloned();
        let body = Bytes::from_request(request, state).await.map_err(|refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(Code::TooLarge, format!("The body has more than {LONGEST_BODY} bytes."))
            }
            _ => Problem::new(Code::Malformed, "The body did not arrive whole. Send it again."),
        })?;
        if body.is_empty() {
            return read(b"{}").map(Self);
        }
        let is_json = media.as_ref().and_then(|media| media.to_str().ok()).is_some_and(|media| {
            media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
        });
        if !is_json {
            return Err(Problem::new(Code::UnsupportedMediaType, "Send the body as application/json."));
        }
        read(&body).map(Self)
    }
}

/// The parameters of a query.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        read.map(|read| Self(read.0)).map_err(|refused| {
            // Of the text, only the last part says something to a caller; it names the parameter.
            let text = refused.body_text();
            let detail = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, detail)| detail);
            let (pointer, detail) = detail.split_once(": ").unwrap_or(("", detail));
            Problem::invalid(format!("?{pointer}"), detail)
        })
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // A list would be read as the fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::invalid("", "Send an object, not a list."));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (pointer, error) = (pointer(error.path()), error.into_inner());
        match error.classify() {
            serde_json::error::Category::Data => Problem::invalid(pointer, without_place(&error)),
            _ => Problem::new(Code::Malformed, format!("The body is not JSON: {error}.")),
        }
    })?;
    json.end().map_err(|error| Problem::new(Code::Malformed, format!("The body is not JSON: {error}.")))?;
    Ok(value)
}

/// A place in a body of one line says nothing that the pointer does not.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(text, _)| text.to_owned())
}

/// Writes a path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::response::IntoResponse as _;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct Body {
        why: Option<String>,
        ids: Option<BTreeMap<String, Vec<u8>>>,
    }

    #[test]
    fn every_mistake_names_its_field() {
        let mut told = String::new();
        for body in [
            r#"{"why": 7}"#,
            r#"{"whom": "x"}"#,
            r#"{"ids": {"a/b": [1, "x"]}}"#,
            r#"[1, 2]"#,
            r#"{"why": "x""#,
            r#"{} {}"#,
        ] {
            let problem = read::<Body>(body.as_bytes()).unwrap_err();
            let status = problem.clone().into_response().status();
            told += &format!("{body}: {status} {problem:?}\n");
        }
        insta::assert_snapshot!(told, @r#"
{"why": 7}: 422 Unprocessable Entity Problem { code: Invalid, detail: "/why: invalid type: integer `7`, expected a string", mistakes: [Mistake { pointer: "/why", detail: "invalid type: integer `7`, expected a string" }], retry_after: None, challenge: None }
{"whom": "x"}: 422 Unprocessable Entity Problem { code: Invalid, detail: "/whom: unknown field `whom`, expected `why` or `ids`", mistakes: [Mistake { pointer: "/whom", detail: "unknown field `whom`, expected `why` or `ids`" }], retry_after: None, challenge: None }
{"ids": {"a/b": [1, "x"]}}: 422 Unprocessable Entity Problem { code: Invalid, detail: "/ids/a~1b/1: invalid type: string \"x\", expected u8", mistakes: [Mistake { pointer: "/ids/a~1b/1", detail: "invalid type: string \"x\", expected u8" }], retry_after: None, challenge: None }
[1, 2]: 422 Unprocessable Entity Problem { code: Invalid, detail: "Send an object, not a list.", mistakes: [Mistake { pointer: "", detail: "Send an object, not a list." }], retry_after: None, challenge: None }
{"why": "x": 400 Bad Request Problem { code: Malformed, detail: "The body is not JSON: EOF while parsing an object at line 1 column 11.", mistakes: [], retry_after: None, challenge: None }
{} {}: 400 Bad Request Problem { code: Malformed, detail: "The body is not JSON: trailing characters at line 1 column 4.", mistakes: [], retry_after: None, challenge: None }
"#);
        assert!(read::<Body>(b"{}").is_ok());
    }
}
