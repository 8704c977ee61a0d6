//! The headers of every request to a provider, the key among them. They win over a request's own.
//!
//! As lines they are written once for all requests; only HTTP/2 wants them one by one.

use http::{HeaderMap, HeaderName};

/// These headers, and how HTTP/1.1 has them.
pub struct FixedHeaders {
    headers: HeaderMap,
    lines: Vec<u8>,
}

impl FixedHeaders {
    /// Of all requests.
    pub fn new(headers: HeaderMap) -> Self {
        let mut lines = Vec::new();
        headers.iter().for_each(|(name, value)| {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        });
        Self { headers, lines }
    }

    /// One by one.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The lines of a head.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Whether a request's own header of this name must not be sent. There are few: to look it up would cost more.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.headers.keys().any(|ours| ours == name)
    }

    /// Puts them among the headers of a request.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_providers_own_headers_win_over_the_clients() {
        let mut ours = HeaderMap::new();
        ours.insert("host", HeaderValue::from_static("h:8443"));
        ours.insert("x-org", HeaderValue::from_static("o"));
        let standing = FixedHeaders::new(ours);
        assert_eq!(standing.lines(), b"host: h:8443\r\nx-org: o\r\n");
        assert!(standing.has(&HeaderName::from_static("x-org")) && !standing.has(&http::header::ACCEPT));
        let mut theirs = HeaderMap::new();
        theirs.append("x-org", HeaderValue::from_static("client"));
        theirs.append("x-org", HeaderValue::from_static("again"));
        theirs.append("accept", HeaderValue::from_static("a/b"));
        standing.put_into(&mut theirs);
        assert_eq!(theirs.get_all("x-org").iter().collect::<Vec<_>>(), ["o"]);
        assert_eq!((theirs["host"].as_bytes(), theirs["accept"].as_bytes()), (&b"h:8443"[..], &b"a/b"[..]));
    }
}
