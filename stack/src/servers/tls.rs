//! Certificates, and a proxy that adds TLS to a server without it. The proxy requires a client certificate, as a
//! production Temporal does.

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

/// The name in server certificates, beside 127.0.0.1.
pub const SERVER_NAME: &str = "temporal.test";

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// Makes an authority that no client trusts by default.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Returns its certificate, for clients and servers that must trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate for a server on this machine, or for a client.
    pub fn sign(&self) -> anyhow::Result<Signed> {
        let mut params = CertificateParams::new([SERVER_NAME.to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let key = KeyPair::generate()?;
        Ok(Signed { certificate: params.signed_by(&key, &self.0)?, key })
    }
}

impl Signed {
    /// Returns certificate and key in the format of files.
    pub fn pem(&self) -> (String, String) {
        (self.certificate.pem(), self.key.serialize_pem())
    }
}

/// Makes an acceptor of TLS for HTTP/2, and for HTTP/1.1 with a client that does not offer HTTP/2. With `clients`, it accepts only certificates that this authority signed.
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
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The proxy. It accepts no further connections after it is dropped.
pub struct TlsProxy {
    address: SocketAddr,
    accept: AbortHandle,
}

impl TlsProxy {
    /// Listens on a free port and passes the contents of TLS on to `upstream`.
    pub async fn start(upstream: SocketAddr, acceptor: TlsAcceptor) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to listen")?;
        let address = listener.local_addr()?;
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // TLS reports a refusal to the client, and both ends see a broken connection.
                    let mut outer = acceptor.accept(stream).await?;
                    let mut inner = TcpStream::connect(upstream).await?;
                    copy_bidirectional(&mut outer, &mut inner).await
                });
            }
        });
        Ok(Self { address, accept: accept.abort_handle() })
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}
