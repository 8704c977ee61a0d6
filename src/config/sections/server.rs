//! `[server]` and `[admin]`: where the gateway listens, and what it must have to listen beyond this machine.

use std::{fs::File, net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::json;

use crate::config::{
    Secret,
    reader::{units::size_text, value::Value},
    section_table::section,
};

/// Shorter admin tokens can be guessed.
const SHORTEST_TOKEN: usize = 16;

section! {
    /// `[server]`
    [server] pub struct Server(section, open: bool) {
        /// Address to listen on; port 0 picks a free one.
        listen: SocketAddr = "127.0.0.1:8080";
        /// Largest request body, in bytes.
        max_body: usize = "32MiB", read Value::size, show |server, _| json!(size_text(server.max_body));
        /// How long running streams may finish after SIGTERM.
        drain_timeout: Duration = "30s";
    }
    joint {
        /// PEM certificate chain: HTTPS.
        tls_cert: Option<Value<'a>> = None, read Value::itself,
            show |server, _| json!(server.tls.as_ref().map(|tls| &tls.cert));
        /// Its PEM private key.
        tls_key: Option<Value<'a>> = None, read Value::itself,
            show |server, _| json!(server.tls.as_ref().map(|tls| &tls.key));
    }
    made {
        /// PEM files for HTTPS; both or none.
        tls: Option<Tls> = None, by tls(tls_cert.as_ref(), tls_key.as_ref());
    }
    rules {
        if open && !is_loopback(listen) {
            section.error_at("listen", left_open(listen));
        }
    }
}

/// Certificate and key of the HTTPS listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// PEM certificate chain.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

fn left_open(listen: SocketAddr) -> String {
    format!(
        "{listen} can be reached from other machines, and without [[auth.keys]] anybody there could use your provider \
         keys; add a key, or listen on 127.0.0.1"
    )
}

section! {
    /// `[admin]`
    [admin] pub struct Admin(section, listen: SocketAddr) {
        /// Bearer token of the admin routes; `None`: loopback only.
        token: Option<Secret> = "", read |value| token(value, !is_loopback(listen));
    }
    rules {
        if section.value("token").is_none() && !is_loopback(listen) {
            section.error(format!("{listen} needs a `token`: {HOW_TO_TOKEN}"));
        }
    }
}

const HOW_TO_TOKEN: &str = "make one with `openssl rand -hex 32`, or listen on 127.0.0.1";

/// Empty means none. Never quotes it.
fn token(value: &Value<'_>, exposed: bool) -> Option<Option<Secret>> {
    let text = value.text()?;
    match text.chars().count() {
        0 if exposed => {
            value.fail(format!("is empty, but beyond this machine one is needed: {HOW_TO_TOKEN}"))
        }
        0 => Some(None),
        length @ 1..SHORTEST_TOKEN if exposed => value.fail(format!(
            "is {length} characters long, but beyond this machine it needs {SHORTEST_TOKEN}: {HOW_TO_TOKEN}"
        )),
        length => {
            if length < SHORTEST_TOKEN {
                value.warn(format!("is only {length} characters long and can be guessed"));
            }
            value.header_secret(text).map(Some)
        }
    }
}

/// `::ffff:127.0.0.1` is loopback as well.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn tls(cert: Option<&Value<'_>>, key: Option<&Value<'_>>) -> Option<Tls> {
    match (cert, key) {
        (Some(cert), Some(key)) => {
            let (cert, key) = (readable(cert), readable(key));
            Some(Tls { cert: cert?, key: key? })
        }
        (None, None) => None,
        (Some(cert), None) => cert.fail("HTTPS needs `tls_key` too"),
        (None, Some(key)) => key.fail("HTTPS needs `tls_cert` too"),
    }
}

fn readable(value: &Value<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(value.name()?);
    match File::open(&path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_dir() => value.fail(format!("{} is a directory", path.display())),
        Ok(_) => Some(path),
        Err(error) => value.fail(format!("{} cannot be read: {error}", path.display())),
    }
}
