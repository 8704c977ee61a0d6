//! From the URL of the configuration to what a connection needs: host, role, time limits, TLS.
//!
//! Certificates are always verified, as towards providers. It must never quote the URL, which holds a password.

use std::{net::IpAddr, path::Path, time::Duration};

use rustls::ClientConfig;
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use crate::{memory::store::StoreError, tls};

/// Beyond it a server does not answer the door.
const CONNECT: Duration = Duration::from_secs(2);
/// A peer that does not acknowledge for so long is gone (Linux; elsewhere the time limits of the calls hold).
const SILENCE: Duration = Duration::from_secs(5);

/// What the server holds us to, should this process vanish or a statement run wild: no lock outlives it for long.
const LIMITS: &str = "-c statement_timeout=30s -c lock_timeout=5s -c idle_in_transaction_session_timeout=10s \
                      -c application_name=concierge";

/// How to connect.
pub(super) struct PostgresUrl {
    pub config: Config,
    pub tls: MakeRustlsConnect,
}

impl PostgresUrl {
    /// Reads a URL as libpq does, `sslmode` included: `verify-ca` and `verify-full` mean `require`, which verifies the
    /// certificate and the name. Without a mode, servers on this machine are spoken to in plain text, and others as
    /// they offer.
    ///
    /// Errors: [`StoreError::Denied`] with a sentence that names the part at fault.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let denied = |what: String| StoreError::Denied(format!("memory.url: {what}"));
        let (url, mode) = without_mode(url).ok_or_else(|| denied("it is no URL".to_owned()))?;
        let mut config: Config = url.parse().map_err(|error| denied(in_words(&error)))?;
        let mode = match mode.as_deref() {
            Some("disable") => SslMode::Disable,
            Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some("prefer" | "allow") => SslMode::Prefer,
            None if config.get_hosts().iter().all(is_here) => SslMode::Disable,
            None => SslMode::Prefer,
            Some(_) => {
                return Err(denied("sslmode must be disable, prefer, require or verify-full".to_owned()));
            }
        };
        let options = config.get_options().map_or(LIMITS.to_owned(), |own| format!("{LIMITS} {own}"));
        config.ssl_mode(mode).connect_timeout(CONNECT).tcp_user_timeout(SILENCE).options(options);
        config.keepalives_idle(SILENCE).keepalives_interval(Duration::from_secs(2)).keepalives_retries(2);
        let tls = tls::client_config(&[]).map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self { config, tls: MakeRustlsConnect::new(ClientConfig::clone(&tls)) })
    }
}

/// The URL without its `sslmode`, of which the driver knows three, and the mode.
fn without_mode(url: &str) -> Option<(String, Option<String>)> {
    let mut url = Url::parse(url).ok()?;
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mode = pairs.iter().find(|(name, _)| name == "sslmode").map(|(_, mode)| mode.clone());
    let rest: Vec<_> = pairs.into_iter().filter(|(name, _)| name != "sslmode").collect();
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    // In a form a plus is a space; the driver reads URLs, in which it is a plus.
    let query = url.query().map(|query| query.replace('+', "%20"));
    url.set_query(query.as_deref());
    Some((url.into(), mode))
}

/// A socket, or an address of this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(path) => Path::is_absolute(path),
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
    }
}

/// What the parser says, with what lies below it; it quotes names of options and no values.
fn in_words(error: &tokio_postgres::Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    cause.unwrap_or_else(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        PostgresUrl::parse(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn others_are_spoken_to_in_secret_as_far_as_the_url_says() {
        assert_eq!(mode("postgres://u:p@localhost/db"), SslMode::Disable);
        assert_eq!(mode("postgres://u:p@[::1]:5433/db"), SslMode::Disable);
        assert_eq!(mode("postgres://u@%2Frun%2Fpostgresql/db"), SslMode::Disable);
        assert_eq!(mode("postgres://u:p@db.example/db"), SslMode::Prefer);
        assert_eq!(mode("postgres://u:p@db.example/db?sslmode=verify-full"), SslMode::Require);
        assert_eq!(mode("postgres://u:p@localhost/db?sslmode=require"), SslMode::Require);
        assert_eq!(mode("postgres://u:p@db.example/db?sslmode=disable"), SslMode::Disable);
    }

    #[test]
    fn what_is_asked_for_besides_stays() {
        let address =
            PostgresUrl::parse("postgres://u@h/db?options=-c%20work_mem%3D1MB&sslmode=disable").unwrap();
        let options = address.config.get_options().unwrap();
        assert!(
            options.starts_with("-c statement_timeout") && options.ends_with("-c work_mem=1MB"),
            "{options}"
        );
    }

    #[test]
    fn a_bad_url_is_named_without_its_password() {
        for bad in
            ["postgres://u:hunter2@h/db?sslmode=maybe", "postgres://u:hunter2@h/db?colour=red", "hunter2"]
        {
            let error = PostgresUrl::parse(bad).err().unwrap().to_string();
            assert!(error.contains("memory.url") && !error.contains("hunter2"), "{error}");
        }
    }
}
