use tokio::time::Instant;

use crate::{
    config::{self, TargetName},
    events::Events,
    tasks::Tasks,
    upstream::Snapshot,
};

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
[[providers]]
name = "one"
base_url = "http://127.0.0.1:1/v1"
[[models]]
name = "chat"
targets = ["one/listed", "one/other"]
"#;

fn snapshot(config: &str, before: Option<&Snapshot>) -> Snapshot {
    let loaded = config::parse("config.toml", config, &|_| None).unwrap();
    Snapshot::new(loaded.config, before, &Events::new(), &Tasks::new()).unwrap()
}

fn ask(snapshot: &Snapshot, model: &str) {
    snapshot.ad_hoc(&TargetName { provider: "one".into(), model: model.into() }).unwrap();
}

fn drain(snapshot: &Snapshot, id: &str) {
    snapshot.find(id).unwrap().state.drain(true, Instant::now());
}

fn is_drained(snapshot: &Snapshot, id: &str) -> bool {
    snapshot.find(id).is_some_and(|target| target.state.is_drained())
}

#[test]
fn a_drain_outlives_a_reload_also_where_no_model_names_the_target() {
    let first = snapshot(CONFIG, None);
    ask(&first, "named");
    ask(&first, "healthy");
    drain(&first, "one/named");
    drain(&first, "one/other");
    let shorter = CONFIG.replace(r#", "one/other""#, "");
    let second = snapshot(&shorter, Some(&first));
    assert!(is_drained(&second, "one/named"), "it was never in a model");
    assert!(is_drained(&second, "one/other"), "it is in none any more");
    assert!(second.find("one/healthy").is_none() && !is_drained(&second, "one/listed"));
    let third = snapshot(CONFIG, Some(&second));
    assert!(is_drained(&third, "one/named") && is_drained(&third, "one/other"));
    third.find("one/named").unwrap().state.drain(false, Instant::now());
    assert!(!is_drained(&snapshot(CONFIG, Some(&third)), "one/named"));
    let without = CONFIG.replace("one", "two");
    assert!(snapshot(&without, Some(&third)).find("one/other").is_none(), "its provider is gone");
}

#[test]
fn strangers_do_not_push_out_what_an_operator_has_drained() {
    let snapshot = snapshot(CONFIG, None);
    ask(&snapshot, "named");
    ask(&snapshot, "healthy");
    drain(&snapshot, "one/named");
    for n in 0..3000 {
        ask(&snapshot, &format!("stray-{n}"));
    }
    assert!(is_drained(&snapshot, "one/named"));
    assert!(snapshot.find("one/healthy").is_none(), "there is not room for everybody");
    assert_eq!(snapshot.targets().len(), 2 + super::MAX_TARGETS.get());
}
