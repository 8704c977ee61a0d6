//! Whom we believe.

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn key(user: &str, plain: &str) -> ClientKey {
    ClientKey {
        user: user.into(),
        sha256: sha256(plain.as_bytes()),
        act_for_users: false,
        models: vec!["*".into()],
        priority: 0,
    }
}

fn keyring(keys: Vec<ClientKey>) -> Keyring {
    Keyring::new(&config::Auth { keys, ..config::Auth::default() })
}

const NO_CLAIMS: BodyClaims<'static> = [None, None, None];

#[test]
fn every_spelling_of_a_key_goes_through_one_extractor() {
    let ring = keyring(vec![key("alice", "k-alice")]);
    for pair in [
        ("authorization", "Bearer k-alice"),
        ("authorization", "bearer  k-alice"),
        ("x-api-key", "k-alice"),
        ("api-key", "k-alice"),
    ] {
        assert_eq!(ring.identify(&headers(&[pair])).unwrap().user(NO_CLAIMS).as_str(), "alice", "{pair:?}");
    }
    assert_eq!(ring.identify(&headers(&[])).unwrap_err(), AuthError::MissingKey);
    assert_eq!(
        ring.identify(&headers(&[("authorization", "Basic k-alice")])).unwrap_err(),
        AuthError::MissingKey
    );
    assert_eq!(ring.identify(&headers(&[("x-api-key", "k-alic")])).unwrap_err(), AuthError::InvalidKey);
}

#[test]
fn a_forged_id_counts_only_where_claims_count() {
    let app = ClientKey { act_for_users: true, ..key("app", "k-app") };
    let ring = keyring(vec![key("alice", "k-alice"), app]);
    let body = [Some("mallory"), None, None];
    let alice = ring.identify(&headers(&[("x-api-key", "k-alice"), ("x-user-id", "bob")])).unwrap();
    assert_eq!(alice.user(body).as_str(), "alice");
    let app = ring.identify(&headers(&[("x-api-key", "k-app"), ("x-user-id", "bob")])).unwrap();
    assert_eq!(app.user(body).as_str(), "bob");
    let app = ring.identify(&headers(&[("x-api-key", "k-app")])).unwrap();
    assert_eq!(app.user(body).as_str(), "mallory");
    assert_eq!(app.user(NO_CLAIMS).as_str(), "app");
    let open = keyring(vec![]).identify(&headers(&[("authorization", "Bearer whatever")])).unwrap();
    assert_eq!(open.user([None, Some("safe"), Some("meta")]).as_str(), "safe");
    assert_eq!(open.user(NO_CLAIMS).as_str(), "anonymous");
}

#[test]
fn an_id_that_cannot_be_one_is_nobodys_and_not_the_keys_owner() {
    let app = ClientKey { act_for_users: true, ..key("app", "k-app") };
    let ring = keyring(vec![app]);
    let of = |id: &[u8], body: BodyClaims<'_>| {
        let mut headers = headers(&[("x-api-key", "k-app")]);
        headers.insert("x-user-id", http::HeaderValue::from_bytes(id).unwrap());
        ring.identify(&headers).unwrap().user(body).as_str().to_owned()
    };
    assert_eq!(of("Zoë".as_bytes(), NO_CLAIMS), "Zoë");
    let long = "x".repeat(300);
    for unusable in [long.as_bytes(), b"Zo\xeb"] {
        assert_eq!(of(unusable, [Some("mallory"), None, None]), "anonymous");
    }
    assert_eq!(of(b" ", [Some(&long), Some("mallory"), None]), "anonymous");
    assert_eq!(of(b" ", [Some(""), Some("safe"), None]), "safe");
}

#[test]
fn a_forged_token_is_refused_and_not_replaced_by_an_unsigned_claim() {
    let auth = config::Auth { jwt_secret: Some(Secret::new("s")), ..config::Auth::default() };
    let forged = headers(&[(USER_JWT, "a.b.c"), ("x-user-id", "bob")]);
    assert_eq!(Keyring::new(&auth).identify(&forged).unwrap_err(), AuthError::InvalidKey);
}

#[test]
fn models_are_allowed_by_name_and_prefix() {
    let ring = keyring(vec![ClientKey { models: vec!["m".into(), "groq/*".into()], ..key("a", "k") }]);
    let caller = ring.identify(&headers(&[("x-api-key", "k")])).unwrap();
    assert!(caller.may_use("m") && caller.may_use("groq/x"));
    assert!(!caller.may_use("m2") && !caller.may_use("together/x"));
}

fn operator(
    listener: &str,
    peer: &str,
    token: Option<&str>,
    pairs: &[(&'static str, &str)],
) -> Result<(), AuthError> {
    let connection = ConnectionInfo { listener: listener.parse().unwrap(), peer: peer.parse().unwrap() };
    let ring = keyring(vec![key("alice", "k-alice")]);
    admit_operator(
        token.map(Secret::new).as_ref(),
        &ring,
        connection,
        (&Method::POST, Version::HTTP_11, &headers(pairs)),
    )
}

#[test]
fn operators_need_the_token_off_loopback() {
    let token = Some("0123456789abcdef");
    let right = ("authorization", "Bearer 0123456789abcdef");
    assert_eq!(operator("127.0.0.1", "127.0.0.1:1", None, &[]), Ok(()));
    assert_eq!(operator("0.0.0.0", "10.0.0.1:1", token, &[]), Err(AuthError::MissingKey));
    assert_eq!(operator("0.0.0.0", "127.0.0.1:1", token, &[]), Err(AuthError::MissingKey));
    assert_eq!(operator("0.0.0.0", "10.0.0.1:1", token, &[right]), Ok(()));
    assert_eq!(
        operator("0.0.0.0", "10.0.0.1:1", token, &[("x-api-key", "nope")]),
        Err(AuthError::InvalidKey)
    );
    assert_eq!(
        operator("0.0.0.0", "10.0.0.1:1", token, &[("x-api-key", "k-alice")]),
        Err(AuthError::AdminOnly)
    );
    assert_eq!(
        operator("127.0.0.1", "127.0.0.1:1", None, &[("x-api-key", "k-alice")]),
        Err(AuthError::AdminOnly)
    );
}

#[test]
fn a_page_or_a_proxy_is_not_an_operator_on_loopback() {
    let local = |pairs: &[(&'static str, &str)]| operator("127.0.0.1", "127.0.0.1:1", None, pairs);
    assert_eq!(local(&[("host", "localhost:8080")]), Ok(()));
    assert_eq!(local(&[("host", "[::1]:8080")]), Ok(()));
    assert_eq!(local(&[("host", "evil.example")]), Err(AuthError::MissingKey), "a name that was rebound");
    assert_eq!(local(&[("x-forwarded-for", "8.8.8.8")]), Err(AuthError::MissingKey));
    assert_eq!(local(&[("sec-fetch-site", "cross-site")]), Err(AuthError::AdminOnly));
    let page = [("host", "127.0.0.1:1"), ("origin", "https://evil.example")];
    assert_eq!(local(&page), Err(AuthError::AdminOnly));
    assert_eq!(local(&[("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:1")]), Ok(()));
}
