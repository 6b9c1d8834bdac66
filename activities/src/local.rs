//! Which addresses lead to this machine. There, and nowhere else, plain text is accepted.

use std::net::IpAddr;

use url::{Host, Url};

/// Returns whether the host of a URL is loopback.
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // The host of a scheme that browsers do not know is always a text.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        None => false,
    }
}

/// Returns whether a secret may be sent there over HTTP: with TLS, or on this machine.
pub fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_this_machine(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine() {
        for (url, safe) in [
            ("https://login.example.com", true),
            ("http://127.0.0.1:9", true),
            ("http://127.1", true),
            ("http://[::1]", true),
            ("http://localhost:80/x", true),
            ("http://login.example.com", false),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
            ("ftp://localhost", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_safe(&Url::parse(url).unwrap()), safe, "{url}");
        }
        assert!(is_this_machine(&Url::parse("smtp://127.0.0.1:25").unwrap()));
        assert!(!is_this_machine(&Url::parse("smtp://mail.example.com").unwrap()));
    }
}
