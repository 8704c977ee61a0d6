//! `[server]` and `[admin]`: where the gateway listens, and what it must have to listen beyond this machine.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use crate::config::{Admin, Secret, Server, Tls, reader::section::Section, reader::value::Value};

/// Shorter admin tokens can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Reads `[server]`; `open`: no client key is written, so anybody who reaches the port may use it.
pub fn read(section: &Section<'_>, open: bool) -> Server {
    let default = Server::default();
    let server = Server {
        listen: section.or("listen", default.listen, address),
        tls: tls(section),
        max_body: section.or("max_body", default.max_body, Value::size),
        drain_timeout: section.or("drain_timeout", default.drain_timeout, Value::duration),
    };
    if open && !is_loopback(server.listen) {
        let message = format!(
            "{} can be reached from other machines, and without [[auth.keys]] anybody there could use your \
             provider keys; add a key, or listen on 127.0.0.1",
            server.listen
        );
        section.error_at("listen", message);
    }
    server
}

/// Reads `[admin]`.
pub fn admin(section: &Section<'_>, server: &Server) -> Admin {
    let exposed = !is_loopback(server.listen);
    let value = section.value("token");
    if value.is_none() && exposed {
        section.error(format!("{} needs a `token`: {HOW_TO_TOKEN}", server.listen));
    }
    Admin { token: value.and_then(|value| token(&value, exposed)) }
}

const HOW_TO_TOKEN: &str = "make one with `openssl rand -hex 32`, or listen on 127.0.0.1";

/// Empty means none. Never quotes it.
fn token(value: &Value<'_>, exposed: bool) -> Option<Secret> {
    let text = value.text()?;
    match text.chars().count() {
        0 if exposed => {
            value.fail(format!("is empty, but beyond this machine one is needed: {HOW_TO_TOKEN}"))
        }
        0 => None,
        length @ 1..SHORTEST_TOKEN if exposed => value.fail(format!(
            "is {length} characters long, but beyond this machine it needs {SHORTEST_TOKEN}: {HOW_TO_TOKEN}"
        )),
        length => {
            if length < SHORTEST_TOKEN {
                value.warn(format!("is only {length} characters long and can be guessed"));
            }
            value.header_secret(text)
        }
    }
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let local = local.map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    local
        .or_else(|| text.parse().ok())
        .or_else(|| value.expected(r#"an IP address and a port such as "127.0.0.1:8080""#, ""))
}

/// `::ffff:127.0.0.1` is loopback as well.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn tls(section: &Section<'_>) -> Option<Tls> {
    let (cert, key) = (section.value("tls_cert"), section.value("tls_key"));
    match (&cert, &key) {
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
