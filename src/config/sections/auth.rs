//! `[auth]` and `[[auth.keys]]`: who may use the gateway.
//!
//! A key that is not there must never open it: keys that are written but all unset are an error.

use std::collections::BTreeMap;

use http::HeaderName;
use sha2::{Digest, Sha256};

use super::models::Models;
use crate::config::{Auth, ClientKey, reader::section::Section, reader::value::Value, suggest::did_you_mean};

/// Shorter client keys can be guessed.
const SHORTEST_KEY: usize = 8;

/// What `[auth]` says.
pub struct Access<'a> {
    /// The checked section.
    pub auth: Auth,
    /// No client key is written: everybody who reaches the port may use it.
    pub open: bool,
    /// Allow-list entries, to be compared with the models once those are known.
    allowed: Vec<(Value<'a>, String)>,
}

impl Access<'_> {
    /// Warns of allow-lists that name a model nobody can ask for. A pattern or a target may be meant for
    /// later, a mistyped name not.
    pub fn check_allow_lists(&self, models: &Models) {
        for (value, name) in &self.allowed {
            if !name.ends_with('*') && !name.contains('/') && !models.names.contains(name) {
                let hint = did_you_mean(name, models.names.iter().map(String::as_str));
                value.warn(format!("there is no model `{name}`{hint}"));
            }
        }
    }
}

/// Reads `[auth]`.
pub fn read<'a>(section: &Section<'a>) -> Access<'a> {
    let default = Auth::default();
    let auth = Auth {
        jwt_secret: section.opt("jwt_secret", Value::secret),
        user_headers: section.or("user_headers", default.user_headers, |value| value.list(header_name)),
        keys: Vec::new(),
    };
    let tables = section.tables("keys");
    let mut access = Access { auth, open: tables.is_empty(), allowed: Vec::new() };
    let unset = read_keys(tables, &mut access);
    if !access.open && access.auth.keys.is_empty() && !unset.is_empty() {
        let names = unset.join(" or ");
        section
            .error_at("keys", format!("none of the keys has a value, so nobody could get in; set {names}"));
    }
    access
}

/// Adds the keys that have a value to `access`; answers the variables that the others lack.
fn read_keys<'a>(tables: Vec<Section<'a>>, access: &mut Access<'a>) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let mut unset = Vec::new();
    for (i, table) in tables.into_iter().enumerate() {
        let table = table.skippable();
        let key = client_key(&table, &mut access.allowed);
        table.refuse_unknown();
        let missing = table.unset();
        if !missing.is_empty() {
            table.warn(format!("this key is left out: {} not set", missing.join(", ")));
            unset.extend(missing);
        } else if let Some(key) = key {
            if let Some(earlier) = seen.insert(key.sha256, i) {
                table.error(format!("is the same key as auth.keys[{earlier}]; every entry needs its own"));
            }
            access.auth.keys.push(key);
        }
    }
    unset.dedup();
    unset
}

fn client_key<'a>(table: &Section<'a>, allowed: &mut Vec<(Value<'a>, String)>) -> Option<ClientKey> {
    let user = table.required("user", Value::name);
    let sha256 = match (table.value("key"), table.value("key_sha256")) {
        (Some(_), Some(digest)) => digest.fail("give either `key` or `key_sha256`, not both"),
        (Some(key), None) => hashed(&key),
        (None, Some(digest)) => parse_digest(&digest),
        (None, None) => {
            table.error("needs a `key` or a `key_sha256`");
            None
        }
    };
    let models = table.opt("models", |value| value.list(|element| Some((element.clone(), element.name()?))));
    let names = models.iter().flatten().map(|(_, name)| name.clone()).collect();
    if models.as_ref().is_some_and(Vec::is_empty) {
        table.warn_at(
            "models",
            "is empty, so this key may ask for nothing; leave it out to allow every model",
        );
    }
    let act_for_users = table.or("act_for_users", false, Value::boolean);
    let priority = table.or("priority", 0, |value| value.whole(i64::MIN));
    let all = models.is_none();
    allowed.extend(models.into_iter().flatten());
    let models = if all { vec!["*".to_owned()] } else { names };
    Some(ClientKey { user: user?, sha256: sha256?, act_for_users, models, priority })
}

fn hashed(value: &Value<'_>) -> Option<[u8; 32]> {
    let key = value.text()?;
    let length = key.chars().count();
    if length == 0 {
        return value.fail("must not be empty");
    }
    if length < SHORTEST_KEY {
        value.warn(format!("is only {length} characters long and can be guessed; use at least 16"));
    }
    value.header_secret(key).map(|key| Sha256::digest(key.expose()).into())
}

fn parse_digest(value: &Value<'_>) -> Option<[u8; 32]> {
    let text = value.text()?;
    let mut digest = [0; 32];
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        let parsed = text.get(at..at + 2).filter(|_| hex).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let Some(parsed) = parsed else {
            return value
                .fail("expected the SHA-256 of the key as 64 hex digits: `printf %s \"$KEY\" | sha256sum`");
        };
        *byte = parsed;
    }
    Some(digest)
}

fn header_name(value: &Value<'_>) -> Option<String> {
    let name = value.text()?;
    match HeaderName::try_from(&name) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => value.expected(r#"a header name such as "x-user-id""#, ""),
    }
}
