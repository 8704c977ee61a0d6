//! Finds what must not be remembered: keys, passwords, tokens.
//!
//! It errs on the side of forgetting: a turn with something that looks like a secret is not remembered at all.

use memchr::memmem;

/// Beginnings of keys that their makers gave a mark.
const MARKS: [&str; 17] = [
    "sk-",
    "sk_live_",
    "sk_test_",
    "gsk_",
    "pk_live_",
    "rk_live_",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "ASIA",
    "AIza",
    "hf_",
    "npm_",
];
/// Words after which a value is a secret.
const NAMES: [&str; 9] = [
    "password",
    "passwd",
    "passwort",
    "passphrase",
    "secret",
    "api_key",
    "api key",
    "apikey",
    "access token",
];
/// A key is at least this long behind its mark.
const KEY: usize = 16;

/// Digits of a card's number.
const CARD: std::ops::RangeInclusive<usize> = 13..=19;

/// Whether `text` seems to hold a secret. Nearly none does, so each search begins with what is rare and quickly looked for.
pub(crate) fn found(text: &str) -> bool {
    has(text, "-----BEGIN ") && has(text, "PRIVATE KEY")
        || MARKS.iter().any(|mark| has_marked_key(text, mark))
        || has(text, "eyJ") && text.split(is_gap).any(is_jwt)
        || text.bytes().filter(u8::is_ascii_digit).count() >= *CARD.start() && text.split(is_gap).any(is_card)
        || names_a_value(text)
}

fn has(text: &str, part: &str) -> bool {
    memmem::find(text.as_bytes(), part.as_bytes()).is_some()
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '=' | '{' | '}')
}

fn has_marked_key(text: &str, mark: &str) -> bool {
    memmem::find_iter(text.as_bytes(), mark).any(|at| {
        let begins = !text[..at].ends_with(|c: char| c.is_alphanumeric());
        let rest = text[at + mark.len()..].bytes();
        begins && rest.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).count() >= KEY
    })
}

/// Three parts of base64url, the first of which begins an object.
fn is_jwt(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    parts.len() == 3 && word.contains("eyJ") && parts.iter().all(|part| part.len() >= 10)
}

/// Thirteen to nineteen digits with a valid check digit (Luhn).
fn is_card(word: &str) -> bool {
    let digits: Vec<u32> = word.chars().filter(|c| *c != '-').map_while(|c| c.to_digit(10)).collect();
    if !CARD.contains(&digits.len()) || digits.len() != word.chars().filter(|c| *c != '-').count() {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => *digit,
            _ if *digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// "my password is hunter2", "api_key: abc": a name, and directly after it a value.
fn names_a_value(text: &str) -> bool {
    let lower = text.to_lowercase();
    NAMES.iter().any(|name| {
        memmem::find_iter(lower.as_bytes(), name).any(|at| {
            let rest = lower[at + name.len()..].trim_start_matches(['"', '\'', '*', '`']).trim_start();
            let value =
                [":", "=", "is:", "is ", "ist ", "was "].iter().find_map(|redis| rest.strip_prefix(redis));
            let value =
                value.map(|value| value.trim_start_matches(is_gap).split(is_gap).next().unwrap_or_default());
            value.is_some_and(|value| value.len() >= 4 && looks_made_up(value))
        })
    })
}

/// Passwords hold digits or signs; "is important" does not.
fn looks_made_up(value: &str) -> bool {
    value.chars().any(|c| c.is_ascii_digit())
        || value.trim_end_matches(['.', '!', '?']).contains(|c: char| !c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found() {
        for text in [
            "use sk-proj-abcdefghijklmnopqrstuvwx please",
            "GROQ_API_KEY=gsk_0123456789abcdef0123",
            "AKIAIOSFODNN7EXAMPLE1234 is the id",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
            "my password is hunter2",
            "Password: \"p4ss word\"",
            "api_key: 'abc-123-def'",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0xx.abcdefghijklmnop",
            "card 4111-1111-1111-1111 thanks",
            "Mein Passwort ist geheim123",
        ] {
            assert!(found(text), "{text}");
        }
    }

    #[test]
    fn ordinary_words_are_not() {
        for text in [
            "the password is important",
            "I forgot my password again",
            "sk-ing in winter",
            "what is a secret?",
            "call me at 030 1234567",
            "order 1234567890123",
            "version 1.2.3",
            "risk-averse task-force desk-top",
            "",
        ] {
            assert!(!found(text), "{text}");
        }
    }
}
