//! The strings that mean something: names, secrets, headers, addresses, targets.

use std::net::{Ipv4Addr, SocketAddr};

use http::HeaderName;

use super::value::Value;
use crate::config::{Secret, TargetName};

impl Value<'_> {
    /// A string that is not empty and holds no control characters.
    pub(crate) fn name(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return self.fail("must not be empty");
        }
        if text.chars().any(char::is_control) || text.trim() != text {
            return self.fail("must not hold control characters, nor begin or end with a blank");
        }
        Some(text)
    }

    /// The name of a header, in lower case, but none of `taken`; `example` is one.
    pub(crate) fn header_name(&self, example: &str, taken: &[HeaderName]) -> Option<String> {
        let name = HeaderName::try_from(self.text()?).ok().filter(|name| !taken.contains(name));
        let name = name.or_else(|| self.expected(&format!("a header name such as {example}"), ""));
        name.map(|name| name.as_str().to_owned())
    }

    /// A string that must not be shown; empty means none.
    pub(crate) fn secret(&self) -> Option<Secret> {
        self.text().filter(|text| !text.is_empty()).map(Secret::new)
    }

    /// Wraps `text`, which was read here and travels in a header.
    pub(crate) fn header_secret(&self, text: String) -> Option<Secret> {
        // Not `HeaderValue`: it lets bytes above 127 pass, which clients and servers disagree about.
        if text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && text.trim() == text {
            return Some(Secret::new(text));
        }
        self.fail("holds a character that a header cannot carry, perhaps a line break at its end")
    }

    /// An IP address and a port; `localhost` is one as well.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let text = self.text()?;
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let local = local.map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        local
            .or_else(|| text.parse().ok())
            .or_else(|| self.expected(r#"an IP address and a port such as "127.0.0.1:8080""#, ""))
    }

    /// `provider/model`.
    pub(crate) fn target(&self) -> Option<TargetName> {
        let target = TargetName::parse(&self.name()?);
        target.or_else(|| self.expected(r#"a target "provider/model""#, ""))
    }
}
