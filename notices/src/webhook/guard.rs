//! Which addresses a webhook may go to.
//!
//! A webhook to an address inside the network could reach what no outsider may: a metadata service, an administration
//! port. Names are resolved here, and the connection goes to the address that was checked, so a name that answers
//! differently the second time changes nothing.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock},
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Networks that are not the public Internet, and what says so. Of IPv6 only `2000::/3` is public at all.
const NOT_GLOBAL: [(&str, &str); 25] = [
    ("0.0.0.0/8", "RFC 791: this network"),
    ("10.0.0.0/8", "RFC 1918: private"),
    ("100.64.0.0/10", "RFC 6598: shared by carriers"),
    ("127.0.0.0/8", "RFC 1122: loopback"),
    ("169.254.0.0/16", "RFC 3927: link-local, metadata services"),
    ("172.16.0.0/12", "RFC 1918: private"),
    ("192.0.0.0/24", "RFC 6890: protocol assignments"),
    ("192.0.2.0/24", "RFC 5737: documentation"),
    ("192.88.99.0/24", "RFC 7526: 6to4 relays"),
    ("192.168.0.0/16", "RFC 1918: private"),
    ("198.18.0.0/15", "RFC 2544: benchmarks"),
    ("198.51.100.0/24", "RFC 5737: documentation"),
    ("203.0.113.0/24", "RFC 5737: documentation"),
    ("224.0.0.0/4", "RFC 5771: multicast"),
    ("240.0.0.0/4", "RFC 1112: reserved"),
    // With loopback, mapped and translated IPv4 addresses, unique local, link-local and multicast ones.
    ("::/3", "RFC 4291: not global unicast"),
    ("4000::/2", "RFC 4291: not global unicast"),
    ("8000::/1", "RFC 4291: not global unicast"),
    ("2001::/23", "RFC 2928: protocol assignments, Teredo"),
    ("2001:db8::/32", "RFC 3849: documentation"),
    ("2002::/16", "RFC 3056: 6to4, which holds an IPv4 address"),
    ("2620:4f:8000::/48", "RFC 7534: AS112"),
    ("3fff::/20", "RFC 9637: documentation"),
    ("3ffe::/16", "RFC 3701: the former 6bone"),
    ("2d00::/8", "IANA: reserved"),
];

static REFUSED: LazyLock<Vec<(IpNet, &str)>> = LazyLock::new(|| {
    let parsed = NOT_GLOBAL.iter().map(|(network, why)| network.parse().map(|network| (network, *why)));
    parsed.collect::<Result<_, _>>().unwrap_or_else(|error| unreachable!("{error}"))
});

/// Networks that are not public, to which webhooks may go anyway.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<IpNet>);

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it leads to {address} ({why}), which is not on the public Internet: set EXPORT_WEBHOOK_NETWORKS if it should go there"
)]
pub struct Blocked {
    /// The address.
    pub address: IpAddr,
    /// What it is for.
    pub why: &'static str,
}

impl Networks {
    /// Reads networks, separated by commas, such as `10.1.0.0/16`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let networks = text.split(',').map(|network| {
            let network = network.trim();
            network.parse().map_err(|_| format!("`{network}` is no network such as 10.1.0.0/16"))
        });
        Ok(Self(networks.collect::<Result<_, _>>()?))
    }

    /// Checks an address.
    pub fn check(&self, address: IpAddr) -> Result<(), Blocked> {
        // ::ffff:10.0.0.1 is 10.0.0.1 for the operating system.
        let address = address.to_canonical();
        if self.0.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        match REFUSED.iter().find(|(network, _)| network.contains(&address)) {
            Some((_, why)) => Err(Blocked { address, why }),
            None => Ok(()),
        }
    }

    /// Checks the host of a URL if it is an address. A name is checked when it is resolved.
    pub fn check_literal(&self, url: &Url) -> Result<(), Blocked> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into()),
            Some(Host::Ipv6(address)) => self.check(address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    /// Resolves a name, and checks every address that it has.
    pub async fn resolve(&self, host: &str) -> std::io::Result<Result<Vec<SocketAddr>, Blocked>> {
        // The port is set by the caller of the resolver.
        let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
        Ok(found.iter().try_for_each(|address| self.check(address.ip())).map(|()| found))
    }
}

/// The resolver of the client that sends webhooks. It returns nothing that it has not checked.
pub(super) struct Resolver(pub(super) Arc<Networks>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = Arc::clone(&self.0);
        Box::pin(async move {
            let found = networks.resolve(name.as_str()).await??;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Finds the refusal of an address among the causes of an error.
pub(super) fn blocked<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Blocked> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.into_iter().find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spelling of loopback and metadata addresses that some program understands.
    const INSIDE: [&str; 44] = [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://127.255.255.254/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0x7f.0x0.0x0.0x1/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://0177.0.0.01/",
        "https://00000177.1/",
        "https://127.0.0.1./",
        "https://%31%32%37.0.0.1/",
        "https://１２７.0.0.1/",
        "https://127。0。0。1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://0.0.0.0/",
        "https://0/",
        "https://[::1]/",
        "https://[::]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[0000::0001]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[0:0:0:0:0:ffff:127.0.0.1]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b:1::1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:7f00:1::]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://0xa9fea9fe/",
        "https://2852039166/",
        "https://0251.0376.0251.0376/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::a9fe:a9fe]/",
        "https://[fd00:ec2::254]/",
        "https://100.100.100.200/",
        "https://user:secret@127.0.0.1/",
        "https://10.0.0.1:8443/",
        "https://172.31.255.255/",
        "https://192.168.1.1/",
        "https://[ff02::1]/",
    ];

    #[test]
    fn no_spelling_of_an_address_inside_gets_through() {
        for text in INSIDE {
            let Ok(url) = Url::parse(text) else { continue };
            assert!(Networks::default().check_literal(&url).is_err(), "{text} is {:?}", url.host());
        }
        let read = INSIDE.iter().filter(|text| Url::parse(text).is_ok()).count();
        assert_eq!(read, INSIDE.len(), "each is an address, not a mistake");
    }

    #[test]
    fn public_addresses_get_through_and_others_that_were_allowed() {
        for text in [
            "https://8.8.8.8/",
            "https://[2606:4700:4700::1111]/",
            "https://example.com/",
            "https://172.32.0.1/",
        ] {
            assert_eq!(Networks::default().check_literal(&Url::parse(text).unwrap()), Ok(()), "{text}");
        }
        let allowed = Networks::parse("10.1.0.0/16, ::1/128").unwrap();
        for (address, gets_through) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("10.2.0.1", false), ("::1", true)]
        {
            assert_eq!(allowed.check(address.parse().unwrap()).is_ok(), gets_through, "{address}");
        }
        assert!(Networks::parse("10.1.0.0/33").is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused() {
        let refused = Networks::default().resolve("localhost").await.unwrap().unwrap_err();
        assert!(refused.address.is_loopback());
        assert!(
            !Networks::parse("127.0.0.0/8,::1/128")
                .unwrap()
                .resolve("localhost")
                .await
                .unwrap()
                .unwrap()
                .is_empty()
        );
    }
}
