//! `[auth]` and `[[auth.keys]]`: the callers that may use the gateway.
//!
//! A key that is not there must never open it: keys that are written but all unset are an error.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::models::ModelSections;
use crate::config::{
    Secret,
    reader::{section::Section, value::Value},
    section_table::section,
    suggest::did_you_mean,
};

/// Shorter client keys can be guessed.
const SHORTEST_KEY: usize = 8;

section! {
    /// `[auth]`
    [auth] pub struct Auth(section, written: &mut Vec<Section<'a>>) {
        /// HS256 secret of Open WebUI's signed `x-openwebui-user-jwt`.
        jwt_secret: Option<Secret> = "";
        /// Headers that name the user, first match wins; lower case.
        user_headers: Vec<String> = ["x-user-id", "x-openwebui-user-id"],
            read |value| value.list(|name| name.header_name(r#""x-user-id""#, &[]));
        /// Client keys; empty means open mode (loopback only).
        keys: Vec<ClientKey> = [], read |value| Some(client_keys(value, written));
    }
}

section! {
    /// `[[auth.keys]]`
    [[auth.keys]] pub struct ClientKey(section) {
        /// The user of the key.
        user: String;
        /// A trusted app's key: the user is taken from the request.
        act_for_users: bool = false;
        /// Models this key may ask for; `*` at the end of a name matches any rest.
        models: Vec<String> = ["*"], read allow_list;
        /// A higher number leaves the queue first.
        priority: i64 = 0;
    }
    joint {
        /// The key itself; left out with a warning if its variable is not set.
        key: Option<Value<'a>> = None, read Value::itself, show |key, secrets| secrets.stand_in(&key.sha256);
        /// Instead of `key`: its SHA-256 in hex.
        key_sha256: Option<Value<'a>> = None, read Value::itself, show |_, _| Json::Null;
    }
    made {
        /// SHA-256 of the key: the plain key is hashed while reading and not kept.
        sha256: [u8; 32], by digest(section, key.as_ref(), key_sha256.as_ref());
    }
}

/// Warns of allow-lists that name a model nobody can ask for. A pattern or a target may be meant for later, a mistyped
/// name not.
pub(crate) fn check_allow_lists(keys: &[Section<'_>], models: &ModelSections) {
    for (value, name) in keys.iter().flat_map(|key| key.placed("models", Value::name)) {
        if !name.ends_with('*') && !name.contains('/') && !models.names.contains(&name) {
            let hint = did_you_mean(&name, models.names.iter().map(String::as_str));
            value.warn(format!("there is no model `{name}`{hint}"));
        }
    }
}

/// The keys that have a value; it is an error if none has.
fn client_keys<'a>(value: &Value<'a>, written: &mut Vec<Section<'a>>) -> Vec<ClientKey> {
    *written = value.tables().into_iter().map(Section::skippable).collect();
    let (mut keys, mut unset) = (Vec::new(), Vec::new());
    let mut seen = BTreeMap::new();
    for (i, table) in written.iter().enumerate() {
        let key = ClientKey::read(table);
        table.refuse_unknown();
        let missing = table.unset();
        if !missing.is_empty() {
            table.warn(format!("this key is left out: {} not set", missing.join(", ")));
            unset.extend(missing);
        } else if let Some(key) = key {
            if let Some(earlier) = seen.insert(key.sha256, i) {
                table.error(format!("is the same key as auth.keys[{earlier}]; every entry needs its own"));
            }
            keys.push(key);
        }
    }
    unset.dedup();
    if keys.is_empty() && !unset.is_empty() {
        let names = unset.join(" or ");
        value.error(format!("none of the keys has a value, so nobody could get in; set {names}"));
    }
    keys
}

fn allow_list(value: &Value<'_>) -> Option<Vec<String>> {
    let models = value.list(Value::name)?;
    if models.is_empty() {
        value.warn("is empty, so this key may ask for nothing; leave it out to allow every model");
    }
    Some(models)
}

fn digest(table: &Section<'_>, key: Option<&Value<'_>>, digest: Option<&Value<'_>>) -> Option<[u8; 32]> {
    match (key, digest) {
        (Some(_), Some(digest)) => digest.fail("give either `key` or `key_sha256`, not both"),
        (Some(key), None) => hashed(key),
        (None, Some(digest)) => parse_digest(digest),
        (None, None) => {
            table.error("needs a `key` or a `key_sha256`");
            None
        }
    }
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
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let digest = hex.then(|| (0..64).step_by(2).filter_map(byte).collect::<Vec<_>>());
    digest.and_then(|digest| digest.try_into().ok()).or_else(|| {
        value.fail("expected the SHA-256 of the key as 64 hex digits: `printf %s \"$KEY\" | sha256sum`")
    })
}
