//! `${NAME}` and `${NAME:-default}` inside a string value. Pure: the environment is an argument.
//!
//! An empty variable counts as unset, as in the shell's `:-`: compose files and CI pass on what they do not
//! have as empty strings. `$${` stands for a literal `${`. The result must never be quoted in a message: it
//! may be a secret.

/// Looks up one environment variable.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A string value with its variables filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expanded {
    /// Everything was there.
    Text(String),
    /// These variables are not set and have no default.
    Unset(Vec<String>),
}

/// Fills in the variables of `text`.
///
/// # Errors
/// One sentence when a reference is malformed.
pub(crate) fn expand(text: &str, env: Env<'_>) -> Result<Expanded, String> {
    let mut out = String::with_capacity(text.len());
    let mut unset = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        rest = &from[2..];
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            continue;
        }
        out.push_str(before);
        let (reference, after) = rest.split_once('}').ok_or("a `${` has no closing `}`")?;
        let (name, default) = split(reference)?;
        match (env(name).filter(|value| !value.is_empty()), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => unset.push(name.to_owned()),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(if unset.is_empty() { Expanded::Text(out) } else { Expanded::Unset(unset) })
}

/// `NAME` or `NAME:-default`.
fn split(reference: &str) -> Result<(&str, Option<&str>), String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let letter = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if name.is_empty() || !name.chars().all(letter) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("expected `${NAME}` or `${NAME:-default}`, NAME being letters, digits and `_`; \
                    write `$${` for a literal `${`"
            .into());
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(format!("the default of `{name}` holds another `${{`; a default is plain text"));
    }
    Ok((name, default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<Expanded, String> {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${A}".to_owned()),
            _ => None,
        };
        expand(text, &env)
    }

    fn text(value: &str) -> Result<Expanded, String> {
        Ok(Expanded::Text(value.to_owned()))
    }

    #[test]
    fn variables_and_defaults_are_filled_in() {
        assert_eq!(expanded("plain $5 {x} $"), text("plain $5 {x} $"));
        assert_eq!(expanded("a${A}b${A}c"), text("aonebonec"));
        assert_eq!(expanded("${B:-two}"), text("two"));
        assert_eq!(expanded("${A:-two}"), text("one"));
        assert_eq!(expanded("${B:-}"), text(""));
        assert_eq!(expanded("${B:-a:-b}é"), text("a:-bé"));
    }

    #[test]
    fn an_empty_variable_is_as_good_as_unset() {
        assert_eq!(expanded("${EMPTY:-two}"), text("two"));
        assert_eq!(expanded("x${EMPTY}y"), Ok(Expanded::Unset(vec!["EMPTY".into()])));
    }

    #[test]
    fn all_unset_variables_are_named() {
        assert_eq!(expanded("${B}${A}${C}"), Ok(Expanded::Unset(vec!["B".into(), "C".into()])));
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(expanded("${TRICK}"), text("${A}"));
    }

    #[test]
    fn a_doubled_dollar_is_literal() {
        assert_eq!(expanded("$${A} ${A}"), text("${A} one"));
        assert_eq!(expanded("$${"), text("${"));
    }

    #[test]
    fn malformed_references_are_refused() {
        for bad in ["${A", "${}", "${ A }", "${A:two}", "${A-two}", "${1A}", "${:-x}", "${B:-${A}}", "${é}"]
        {
            assert!(expanded(bad).is_err(), "{bad}");
        }
    }
}
