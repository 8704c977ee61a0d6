//! JSON merge patch, RFC 7386, on text: what a patch does not touch keeps every digit of its numbers.
//!
//! It must never recurse deeper than [`MAX_DEPTH`], whatever it is given.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::StoreError;

/// Nesting beyond which an object is refused.
const MAX_DEPTH: usize = 128;

type PatchObject = BTreeMap<String, Box<RawValue>>;

/// Whether `json` is an object that can be kept.
pub(super) fn object(json: &str) -> Result<(), StoreError> {
    if depth(json) > MAX_DEPTH {
        return Err(StoreError::NotAnObject);
    }
    read(json).map(drop)
}

/// `target` with `patch` applied; both are objects. A key that the patch sets to null is removed.
pub(super) fn merge_patch(target: &str, patch: &str) -> Result<String, StoreError> {
    object(patch)?;
    let merged = merged(read(target)?, read(patch)?)?;
    write(&merged)
}

fn merged(mut target: PatchObject, patch: PatchObject) -> Result<PatchObject, StoreError> {
    for (key, value) in patch {
        match value.get() {
            "null" => drop(target.remove(&key)),
            text if text.starts_with('{') => {
                // Only an object can be patched; anything else is replaced by what the patch makes of nothing.
                let inner = target.get(&key).filter(|old| old.get().starts_with('{'));
                let inner = inner.map_or(Ok(PatchObject::new()), |old| read(old.get()))?;
                let inner = write(&merged(inner, read(text)?)?)?;
                target.insert(key, RawValue::from_string(inner).map_err(|_| StoreError::NotAnObject)?);
            }
            _ => drop(target.insert(key, value)),
        }
    }
    Ok(target)
}

fn read(json: &str) -> Result<PatchObject, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::NotAnObject)
}

fn write(object: &PatchObject) -> Result<String, StoreError> {
    serde_json::to_string(object).map_err(|_| StoreError::NotAnObject)
}

/// The deepest nesting of brackets outside of strings.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests;
