//! From `redis.url` to a connection: host, TLS, password, database.
//!
//! Certificates are always verified, as for providers. It must never quote the URL, which holds a password.

use std::{sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use redis::{ProtocolVersion, RedisConnectionInfo};
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

/// A peer that acknowledges nothing for this long is gone (Linux; elsewhere the timeouts of the calls hold).
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// The default port of Redis.
const PORT: u16 = 6379;

/// A parsed `redis.url`.
pub(crate) struct RedisUrl {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Credentials and database.
    pub login: RedisConnectionInfo,
}

/// A byte stream to Redis, with or without TLS.
pub(crate) trait Transport: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Transport for T {}

impl RedisUrl {
    /// Reads `redis://[user][:password]@host[:port][/database]`; `rediss` means TLS, by `tls`.
    ///
    /// # Errors
    /// One sentence that names the part at fault.
    pub(crate) fn parse(
        url: &str,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, rustls::Error>,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|_| "redis.url: not a valid URL".to_owned())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("redis.url: no host is given")?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| "redis.url: the path must be the number of a database, such as /0".to_owned())?,
        };
        if url.query().is_some() {
            return Err("redis.url: options after a question mark are not supported".to_owned());
        }
        let tls = match url.scheme() {
            "rediss" => {
                let name =
                    ServerName::try_from(host.clone()).map_err(|error| format!("redis.url: {error}"))?;
                let config = tls().map_err(|error| format!("TLS cannot be set up: {error}"))?;
                Some((TlsConnector::from(config), name))
            }
            _ => None,
        };
        let mut login = RedisConnectionInfo::default().set_db(database).set_protocol(ProtocolVersion::RESP3);
        if !url.username().is_empty() {
            login = login.set_username(decoded(url.username()));
        }
        if let Some(password) = url.password() {
            login = login.set_password(decoded(password));
        }
        Ok(Self { host, port: url.port().unwrap_or(PORT), tls, login })
    }

    /// Opens a connection on which nothing was sent yet.
    pub(crate) async fn dial(&self) -> std::io::Result<Box<dyn Transport>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        SockRef::from(&stream).set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), stream).await?)),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RedisUrl, String> {
        RedisUrl::parse(url, || {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            let roots = rustls::RootCertStore::empty();
            Ok(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()))
        })
    }

    #[test]
    fn a_url_says_where_and_who() {
        let address = parse("rediss://ann:s%20cret@cache.example:6390/3").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("cache.example", 6390));
        assert!(address.tls.is_some());
        assert_eq!(address.login.username(), Some("ann"));
        assert_eq!(address.login.password(), Some("s cret"));
        assert_eq!(address.login.db(), 3);
        let address = parse("redis://[::1]").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("::1", PORT));
        assert!(address.tls.is_none() && address.login.password().is_none());
    }

    #[test]
    fn a_fault_is_named_without_the_password() {
        for (url, fault) in [
            ("redis://:hunter2@h/first", "number of a database"),
            ("redis://:hunter2@h/0?timeout=3", "options after"),
            ("redis:///0", "no host"),
        ] {
            let said = parse(url).err().unwrap();
            assert!(said.contains(fault) && !said.contains("hunter2"), "{said}");
        }
    }
}
