//! A private certificate authority for one test: TLS with certificates that only the test trusts.

use std::{path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::link::Link;

/// The authority and one certificate for `localhost`, `127.0.0.1` and the far end of a [`Link`], in memory and as PEM files.
pub struct Authority {
    root: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    files: TempDir,
}

impl Authority {
    /// Generates new keys.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), Link::FAR.to_string()];
        let key = KeyPair::generate().expect("a key");
        let leaf =
            CertificateParams::new(names).expect("names").signed_by(&key, &root).expect("a certificate");
        let files = TempDir::new().expect("a temporary directory");
        let write = |name: &str, pem: String| std::fs::write(files.path().join(name), pem).expect("writable");
        write("root.pem", root.pem());
        write("cert.pem", leaf.pem());
        write("key.pem", key.serialize_pem());
        let (root, certificate) = (root.der().clone(), leaf.der().clone());
        Self { root, certificate, key: key.serialize_der(), files }
    }

    /// PEM file of the root: for `SSL_CERT_FILE`.
    pub fn root_file(&self) -> PathBuf {
        self.files.path().join("root.pem")
    }

    /// PEM file of the certificate: for `tls_cert`.
    pub fn cert_file(&self) -> PathBuf {
        self.files.path().join("cert.pem")
    }

    /// PEM file of its key: for `tls_key`.
    pub fn key_file(&self) -> PathBuf {
        self.files.path().join("key.pem")
    }

    /// The server side, offering these protocols.
    pub fn acceptor(&self, alpn: &[&[u8]]) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("defaults")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("our own certificate");
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// The client side, trusting this authority alone.
    pub fn connector(&self, alpn: &[&[u8]]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("our own root");
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("defaults")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
