//! Authentication: the one place that reads credentials and makes a [`UserId`].
//!
//! All header spellings go through [`presented_key`]. A claimed id (header, signed token, body) counts only
//! in open mode or with a key that may act for users; anybody else's claims are ignored.

pub(crate) mod jwt;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Method, Version, header};
use ring::digest;
use subtle::ConstantTimeEq;

use crate::{
    config::{self, ClientKey, Secret},
    refusal::AuthError,
    user::UserId,
};

const USER_JWT: &str = "x-openwebui-user-jwt";

/// The client keys, found by their hash.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    /// What is looked up is a SHA-256: nobody can choose it so that the map gets slow.
    keys: HashMap<[u8; 32], Arc<KeyEntry>, foldhash::fast::RandomState>,
    jwt_secret: Option<Secret>,
    user_headers: Vec<String>,
}

#[derive(Debug)]
struct KeyEntry {
    key: ClientKey,
    user: Option<UserId>,
}

/// The caller of a request, before the body was read.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key it came with; `None` in open mode.
    holder: Option<Arc<KeyEntry>>,
    /// The user named by the key, a signed token or a header.
    user: Option<UserId>,
}

/// The ids that a body claims, in the order in which they count.
pub(crate) type BodyClaims<'a> = [Option<&'a str>; 3];

impl Keyring {
    /// The keys of `auth`.
    pub(crate) fn new(auth: &config::Auth) -> Self {
        Self {
            keys: auth.keys.iter().map(|key| (key.sha256, Arc::new(KeyEntry::new(key)))).collect(),
            jwt_secret: auth.jwt_secret.clone(),
            user_headers: auth.user_headers.clone(),
        }
    }

    /// The caller that sent `headers`; needs a known key unless there are no keys at all.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        if self.keys.is_empty() {
            return Ok(Caller { holder: None, user: self.claimed(headers)? });
        }
        let presented = presented_key(headers).ok_or(AuthError::MissingKey)?;
        let hash = sha256(presented.as_bytes());
        // Looking a hash up tells nothing about how much of a key was right.
        let holder = self.keys.get(&hash).filter(|holder| bool::from(holder.key.sha256.ct_eq(&hash)));
        let holder = holder.ok_or(AuthError::InvalidKey)?.clone();
        let user = if holder.key.act_for_users { self.claimed(headers)? } else { holder.user.clone() };
        Ok(Caller { holder: Some(holder), user })
    }

    fn claimed(&self, headers: &HeaderMap) -> Result<Option<UserId>, AuthError> {
        if let (Some(secret), Some(token)) = (&self.jwt_secret, headers.get(USER_JWT)) {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs();
            let subject = token.to_str().ok().and_then(|token| jwt::subject(token, secret.expose(), now));
            let user = subject.as_deref().and_then(UserId::authenticated);
            return user.map(Some).ok_or(AuthError::InvalidKey);
        }
        let named = self.user_headers.iter().filter_map(|name| headers.get(name));
        // Names outside ASCII travel as UTF-8. Bytes that are none become an id that cannot be.
        let named = named.map(|value| std::str::from_utf8(value.as_bytes()).unwrap_or("\0"));
        Ok(named.filter_map(with_claims).next())
    }
}

impl KeyEntry {
    fn new(key: &ClientKey) -> Self {
        Self { key: key.clone(), user: UserId::authenticated(&key.user) }
    }
}

impl Caller {
    /// The user this request is for; `claims` are the body's, and count only where claims count.
    pub(crate) fn user(&self, claims: BodyClaims<'_>) -> UserId {
        if let Some(user) = &self.user {
            return user.clone();
        }
        let claimed = claims.into_iter().flatten().find_map(with_claims);
        let owner = self.holder.as_ref().and_then(|holder| holder.user.clone());
        claimed.or(owner).unwrap_or_else(UserId::anonymous)
    }

    /// Whether this caller may ask for `model`.
    pub(crate) fn may_use(&self, model: &str) -> bool {
        let Some(holder) = &self.holder else { return true };
        holder.key.models.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => model == pattern,
        })
    }

    /// How early this caller leaves a queue.
    pub(crate) fn priority(&self) -> i64 {
        self.holder.as_ref().map_or(0, |holder| holder.key.priority)
    }
}

/// The user that `id` claims; `None` if it claims nothing. An id that cannot be one is nobody's: never the key's owner,
/// or all users with such ids would share the owner's memory.
fn with_claims(id: &str) -> Option<UserId> {
    let nothing = id.trim_matches(' ').is_empty();
    (!nothing).then(|| UserId::authenticated(id).unwrap_or_else(UserId::anonymous))
}

/// The key in `headers`, in any of the spellings clients use.
pub(crate) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case("bearer ").then(|| key.trim())
    });
    let bare = || ["x-api-key", "api-key"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
    bearer.or_else(bare).filter(|key| !key.is_empty())
}

/// Whether an operator may pass: with the token, or on loopback without one.
pub(crate) fn admit_operator(
    token: Option<&Secret>,
    keys: &Keyring,
    connection: ConnectionInfo,
    request: (&Method, Version, &HeaderMap),
) -> Result<(), AuthError> {
    let (method, version, headers) = request;
    if method != Method::GET && method != Method::HEAD && comes_from_another_site(headers) {
        return Err(AuthError::AdminOnly);
    }
    match presented_key(headers) {
        Some(presented) => {
            let presented = sha256(presented.as_bytes());
            let expected = token.map(|token| sha256(token.expose().as_bytes()));
            let right = expected.is_some_and(|expected| bool::from(expected.ct_eq(&presented)));
            match right {
                true => Ok(()),
                false if keys.keys.contains_key(&presented) => Err(AuthError::AdminOnly),
                false if token.is_none() && connection.is_local(version, headers) => Ok(()),
                false => Err(AuthError::InvalidKey),
            }
        }
        None if connection.is_local(version, headers) => Ok(()),
        None => Err(AuthError::MissingKey),
    }
}

/// Both ends of the client's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionInfo {
    /// Our address, as configured.
    pub listener: IpAddr,
    /// The client's.
    pub peer: SocketAddr,
}

impl ConnectionInfo {
    /// Loopback at both ends, and neither a proxy nor a page that rebound its name in between.
    fn is_local(self, version: Version, headers: &HeaderMap) -> bool {
        let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
        // HTTP/1.0 is what nginx speaks unless told otherwise, under our own name and without a word about whom for.
        version > Version::HTTP_10
            && self.listener.to_canonical().is_loopback()
            && self.peer.ip().to_canonical().is_loopback()
            && !forwarded.iter().any(|name| headers.contains_key(*name))
            && headers.get(header::HOST).is_none_or(|host| names_loopback(host.to_str().unwrap_or("?")))
    }
}

fn names_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A browser says where a request comes from; other clients say nothing.
fn comes_from_another_site(headers: &HeaderMap) -> bool {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = value("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (value("origin"), value("host")) {
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, origin)| origin != host),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests;
