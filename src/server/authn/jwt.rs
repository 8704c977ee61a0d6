//! Open WebUI's signed user header: one HS256 token whose `sub` is the user.
//!
//! Only this algorithm is understood, the signature is checked before anything is believed, and a token
//! that is not valid never falls back to an unsigned claim.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::Deserialize;

/// How far two clocks may be apart, in seconds.
const LEEWAY: u64 = 60;

#[derive(Deserialize)]
struct JwtHeader {
    alg: String,
}

#[derive(Deserialize)]
struct JwtClaims {
    sub: String,
    exp: Option<u64>,
    nbf: Option<u64>,
}

/// The `sub` of `token` if `secret` signed it and it is valid at `now` (seconds since 1970).
pub(crate) fn subject(token: &str, secret: &str, now: u64) -> Option<String> {
    let (signed, signature) = token.trim().rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &decode(signature)?).ok()?;
    let header: JwtHeader = serde_json::from_slice(&decode(header)?).ok()?;
    let claims: JwtClaims = serde_json::from_slice(&decode(claims)?).ok()?;
    let in_time = claims.exp.is_none_or(|exp| now <= exp.saturating_add(LEEWAY))
        && claims.nbf.is_none_or(|nbf| now.saturating_add(LEEWAY) >= nbf);
    (header.alg == "HS256" && in_time).then_some(claims.sub)
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(header: &str, claims: &str, secret: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    #[test]
    fn a_signed_token_names_its_user_until_it_expires() {
        let token = sign(HS256, r#"{"sub":"u1","exp":1000}"#, "s3cret");
        assert_eq!(subject(&token, "s3cret", 900).as_deref(), Some("u1"));
        assert_eq!(subject(&token, "s3cret", 1060).as_deref(), Some("u1"), "clocks differ a little");
        assert_eq!(subject(&token, "s3cret", 1061), None);
        assert_eq!(subject(&token, "other", 900), None);
        let early = sign(HS256, r#"{"sub":"u1","nbf":1000}"#, "s3cret");
        assert_eq!(subject(&early, "s3cret", 939), None);
        assert_eq!(subject(&early, "s3cret", 940).as_deref(), Some("u1"));
    }

    #[test]
    fn no_other_algorithm_and_no_torn_token_is_believed() {
        let claims = r#"{"sub":"u1"}"#;
        assert_eq!(subject(&sign(r#"{"alg":"none"}"#, claims, "s"), "s", 0), None);
        for other in ["RS256", "HS512", "hs256", ""] {
            assert_eq!(
                subject(&sign(&format!(r#"{{"alg":"{other}"}}"#), claims, "s"), "s", 0),
                None,
                "{other}"
            );
        }
        let token = sign(HS256, claims, "s");
        assert!(subject(&token, "s", 0).is_some());
        for end in 0..token.len() {
            assert_eq!(subject(&token[..end], "s", 0), None);
        }
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(HS256), URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(subject(&unsigned, "s", 0), None);
    }
}
