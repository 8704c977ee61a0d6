//! A reload changes neither the listener nor the Redis.

use super::*;
use crate::config::Secret;

fn listening(address: &str) -> Config {
    let mut config = Config::default();
    config.server.listen = address.parse().unwrap();
    config
}

fn guarded(address: &str) -> Config {
    let mut config = listening(address);
    config.admin.token = Some(Secret::new("an-admin-token-0123456789"));
    config.auth.keys.push(config::ClientKey {
        user: "alice".into(),
        sha256: [0; 32],
        act_for_users: false,
        models: vec!["*".into()],
        priority: 0,
    });
    config
}

#[test]
fn the_same_address_is_no_matter() {
    let mut new = listening("127.0.0.1:80");
    assert_eq!(keep_listener(&listening("127.0.0.1:80"), &mut new), Ok(None));
}

#[test]
fn another_address_waits_for_a_restart() {
    let (old, mut new) = (listening("127.0.0.1:80"), guarded("0.0.0.0:81"));
    let warning = keep_listener(&old, &mut new).unwrap().unwrap();
    assert!(warning.contains("needs a restart"), "{warning}");
    assert_eq!(new.server.listen, old.server.listen);
}

#[test]
fn a_file_for_loopback_does_not_open_a_public_gateway() {
    let old = guarded("0.0.0.0:80");
    let without_token = Config { admin: config::Admin::default(), ..guarded("127.0.0.1:80") };
    let without_keys = Config { auth: config::Auth::default(), ..guarded("127.0.0.1:80") };
    for mut new in [listening("127.0.0.1:80"), without_token, without_keys] {
        assert!(keep_listener(&old, &mut new).is_err());
    }
    assert!(keep_listener(&old, &mut guarded("127.0.0.1:80")).is_ok());
}

#[test]
fn another_redis_needs_a_restart() {
    let with = |url: Option<&str>, on_error| Config {
        redis: config::Redis { url: url.map(Secret::new), on_error },
        ..Config::default()
    };
    let old = with(Some("redis://:hunter2@a"), config::OnError::Local);
    assert!(keep_redis(&old, &with(Some("redis://:hunter2@a"), config::OnError::Closed)).is_ok());
    for url in [None, Some("redis://:hunter2@b")] {
        let reasons = keep_redis(&old, &with(url, config::OnError::Local)).unwrap_err();
        assert!(reasons[0].contains("redis.url") && !reasons[0].contains("hunter2"), "{reasons:?}");
    }
}
