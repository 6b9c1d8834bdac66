//! `GET /` and `GET /data-export.js`: our own page, and the element that it and other pages show.
//!
//! Both are the same for every caller. Who calls is asked by the element, through the API.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

use super::{empty, names};

const PAGE: &str = include_str!("../../page/index.html");
const ELEMENT: &str = include_str!("../../page/data-export.js");

/// Nothing but our own script and our own API. The script makes its style sheets itself, so no other is needed.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; \
     require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";
/// The longest time for which a page shows an element of an earlier release.
const CACHED: &str = "public, max-age=300";

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The element, ready to be sent.
#[derive(Clone)]
pub(super) struct Element {
    plain: axum::body::Bytes,
    gzip: axum::body::Bytes,
    etag: String,
}

impl Element {
    pub(super) fn new() -> Self {
        let plain = shipped(ELEMENT);
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&plain)[..12]));
        let gzip = compressed(plain.as_bytes()).unwrap_or_default();
        Self { plain: plain.into(), gzip: gzip.into(), etag }
    }

    /// Shows the element to any page: it is no secret, and it can do nothing without a session.
    pub(super) fn show(self, headers: &HeaderMap) -> Response {
        let mut answer = if names(headers, header::IF_NONE_MATCH, &self.etag) {
            empty(axum::http::StatusCode::NOT_MODIFIED)
        } else if takes_gzip(headers) && !self.gzip.is_empty() {
            ([(header::CONTENT_ENCODING, "gzip")], self.gzip).into_response()
        } else {
            self.plain.into_response()
        };
        let set = [
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
            (header::CACHE_CONTROL, CACHED),
            (header::VARY, "accept-encoding"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (RESOURCE, "cross-origin"),
        ];
        for (name, value) in set {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Ok(etag) = HeaderValue::try_from(format!("W/{}", self.etag)) {
            answer.headers_mut().insert(header::ETAG, etag);
        }
        answer
    }
}

/// Shows our own page. Without a session, the element says how to get one.
pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (OPENER, "same-origin"),
        (RESOURCE, "same-origin"),
    ];
    (headers, PAGE).into_response()
}

/// Returns the source without its comments and indentation, which are a tenth of its size.
fn shipped(source: &str) -> String {
    let lines = source.lines().map(str::trim_start);
    lines
        .filter(|line| !line.starts_with("//") && !line.starts_with("/**"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn compressed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut gzip, bytes)?;
    gzip.finish()
}

/// Returns whether the caller reads gzip. A weight of zero means that it does not.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_element_has_no_comment_of_its_own_line() {
        assert_eq!(
            shipped("// a\nconst x = 'https://b'; // c\n  /** d */\n  y();\n"),
            "const x = 'https://b'; // c\ny();\n"
        );
    }

    #[test]
    fn the_page_and_the_element_name_no_other_origin() {
        for text in [PAGE, ELEMENT] {
            assert!(!text.contains("http://") && !text.contains("https://"));
        }
        for part in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", ".cookie", "Storage"]
        {
            assert!(!ELEMENT.contains(part), "{part}");
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_read_it() {
        let takes = |value: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(takes("gzip, deflate, br") && takes("br;q=1, GZIP;q=0.5"));
        assert!(!takes("br") && !takes("gzip;q=0, br") && !takes_gzip(&HeaderMap::new()));
    }
}
