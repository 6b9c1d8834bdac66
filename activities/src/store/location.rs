//! The address of a store as a browser writes it, and the location of a bucket with archives.
//!
//! The host is part of a link's signature. A browser rewrites some hosts before it sends them (upper case,
//! international names, odd forms of an IP address), so the signed host must be the one that the browser sends.

use url::Url;

/// Returns the address of a store as a browser writes it: scheme, host and port, without a default port.
///
/// # Errors
/// The end of a sentence with the problem. It repeats nothing of the text, which may hold a password.
pub fn normalise_endpoint(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "is not the address of a store: set http:// or https://, host and port, nothing else";
    let mut url = Url::parse(text).map_err(|_| FORM)?;
    if !matches!(url.scheme(), "http" | "https")
        || !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(FORM);
    }
    if url.path() != "/" {
        return Err(
            "has a path: the name of the bucket belongs into EXPORT_BUCKET alone, so set host and port only",
        );
    }
    // A dot at the end of a name does not change the host, and not every client sends it.
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_owned();
    url.set_host(Some(&host)).map_err(|_| FORM)?;
    Ok(url.origin().ascii_serialization())
}

/// Returns the location of a bucket.
pub(super) fn of(endpoint: Option<&str>, bucket: &str) -> String {
    match endpoint {
        Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        None => format!("s3://{bucket}"),
    }
}

/// Splits a location into endpoint (none for AWS) and bucket.
pub(super) fn parse(location: &str) -> Option<(Option<&str>, &str)> {
    let (endpoint, bucket) = match location.strip_prefix("s3://") {
        Some(bucket) => (None, bucket),
        None => {
            let (endpoint, bucket) = location.rsplit_once('/')?;
            (Some(endpoint), bucket)
        }
    };
    let is_address = endpoint.is_none_or(|endpoint| {
        endpoint.split_once("://").is_some_and(|(_, host)| !host.is_empty() && !host.starts_with('/'))
    });
    (is_address && !bucket.is_empty() && !bucket.contains('/')).then_some((endpoint, bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_spelt_as_a_browser_spells_it() {
        for (text, spelt) in [
            ("https://Downloads.Example.COM", "https://downloads.example.com"),
            ("HTTPS://s3.example.org/", "https://s3.example.org"),
            ("https://s3.example.org:443", "https://s3.example.org"),
            ("http://store:80", "http://store"),
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://s3.example.org.", "https://s3.example.org"),
            ("http://127.1:7070", "http://127.0.0.1:7070"),
            ("http://0x7f000001", "http://127.0.0.1"),
            ("http://[0:0:0:0:0:0:0:1]:9000", "http://[::1]:9000"),
        ] {
            assert_eq!(normalise_endpoint(text).as_deref(), Ok(spelt), "{text}");
        }
    }

    #[test]
    fn anything_but_scheme_host_and_port_is_refused() {
        for text in [
            "s3.example.org",
            "ftp://x",
            "http://",
            "http://.",
            "https://u:p@x",
            "https://x?a=1",
            "https://x#a",
        ] {
            assert!(normalise_endpoint(text).is_err(), "{text}");
        }
        assert!(normalise_endpoint("https://x/exports").unwrap_err().contains("EXPORT_BUCKET"));
    }

    #[test]
    fn a_location_reads_back_as_what_it_was_made_of() {
        for (endpoint, bucket, location) in [
            (Some("http://127.0.0.1:7070"), "exports", "http://127.0.0.1:7070/exports"),
            (Some("https://s3.example.org"), "a.b-c", "https://s3.example.org/a.b-c"),
            (None, "exports", "s3://exports"),
        ] {
            assert_eq!(of(endpoint, bucket), location);
            assert_eq!(parse(location), Some((endpoint, bucket)));
        }
        assert_eq!(of(Some("http://store:9000/"), "b"), "http://store:9000/b", "one slash");
    }

    #[test]
    fn anything_else_is_no_location() {
        for text in ["", "exports", "s3://", "s3://a/b", "http://", "http:///x", "/x", "http://host/"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
