//! Certificates, and a proxy that speaks TLS before a server which does not: it demands a certificate of the client, as
//! a production's Temporal does.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

/// The name under which servers are certified, beside 127.0.0.1.
pub const SERVER_NAME: &str = "temporal.test";

/// Who certifies.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// Makes one that nobody trusts unless told so.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Gives its certificate for those who are to trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certifies a server on this machine, or a client.
    pub fn sign(&self) -> anyhow::Result<Signed> {
        let mut params = CertificateParams::new([SERVER_NAME.to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let key = KeyPair::generate()?;
        Ok(Signed { certificate: params.signed_by(&key, &self.0)?, key })
    }
}

impl Signed {
    /// Gives certificate and key as files hold them.
    pub fn pem(&self) -> (String, String) {
        (self.certificate.pem(), self.key.serialize_pem())
    }
}

/// Makes what accepts TLS for HTTP/2 alone; with `clients`, only from those whom that authority has certified.
pub fn acceptor(server: &Signed, clients: Option<&Authority>) -> anyhow::Result<TlsAcceptor> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone())?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            config.with_client_cert_verifier(verifier)
        }
        None => config.with_no_client_auth(),
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server.key.serialize_der()));
    let mut config = config.with_single_cert(vec![server.certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The proxy; it takes no further connection once it is dropped.
pub struct TlsProxy {
    address: SocketAddr,
    accept: AbortHandle,
}

impl TlsProxy {
    /// Listens on a free port and passes what is inside of TLS on to `upstream`.
    pub async fn start(upstream: SocketAddr, acceptor: TlsAcceptor) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to listen")?;
        let address = listener.local_addr()?;
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that is refused hears it by TLS; a connection that breaks is both ends' own matter.
                    let mut outer = acceptor.accept(stream).await?;
                    let mut inner = TcpStream::connect(upstream).await?;
                    copy_bidirectional(&mut outer, &mut inner).await
                });
            }
        });
        Ok(Self { address, accept: accept.abort_handle() })
    }

    /// Gives where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}
