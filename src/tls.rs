//! TLS towards providers, databases and collectors: the system's trusted roots together with Mozilla's, TLS 1.2 or newer.
//!
//! There is no option that turns verification off. A private authority is added with `SSL_CERT_FILE`.

use std::{sync::Arc, time::Duration};

use reqwest::redirect;
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// The client side of TLS, offering `protocols` by ALPN, best first.
pub(crate) fn client_config(protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Both sources: a scratch container has no system roots, and a company may have its own.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client for the gateway's own requests (health checks, spans): each within `limit`, to the configured address.
///
/// # Errors
/// One sentence, if TLS cannot be set up.
pub(crate) fn http_client(limit: Duration) -> Result<reqwest::Client, String> {
    let tls = client_config(&[b"http/1.1"]).map_err(|error| error.to_string())?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
        .redirect(redirect::Policy::none())
        .timeout(limit)
        .no_proxy()
        .build()
        .map_err(|error| error.to_string())
}
