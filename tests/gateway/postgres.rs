//! PostgreSQL as the store: down, cut off, silent and killed, and two gateways on one database.
//!
//! Without a server (`tests/postgres/with-server`) these tests are skipped with a message.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use concierge_testkit::{
    Client, ConfigFile, Gateway, Reply, eventually, ms,
    store::{self, State, Wire},
};
use http::Method;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::setup::{Load, Stage, errors, launch, many};

/// Limit for a recovery: 5 s are promised, the rest is for a busy machine.
const RECOVERY: Duration = Duration::from_secs(10);

/// The URL of a new database; `None` without a server.
fn database() -> Option<String> {
    if store::server().is_none() {
        eprintln!("skipped: CONCIERGE_TEST_POSTGRES names no server");
        return None;
    }
    Some(store::new_database())
}

fn on(config: ConfigFile, url: &str) -> ConfigFile {
    config.set("memory", "store", "\"postgres\"").set("memory", "url", &format!("{url:?}"))
}

async fn gateway(url: &str) -> Gateway {
    launch().start(on(ConfigFile::quick(), url).toml()).await
}

fn of(gw: &Gateway, user: &str) -> Client {
    gw.client().header("x-user-id", user)
}

async fn add(client: &Client, text: &str) -> Reply {
    client.post("/v1/memories", &json!({ "text": text })).await
}

async fn texts(client: &Client) -> Vec<String> {
    let list = client.get("/v1/memories?limit=200").await.json();
    list["data"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

/// The texts found, best first.
async fn found(client: &Client, query: &str) -> Vec<String> {
    let found = client.post("/v1/memories/search", &json!({"query": query, "limit": 50})).await.json();
    let hits = found["data"].as_array().unwrap_or_else(|| panic!("{found}")).iter();
    hits.map(|hit| hit["text"].as_str().unwrap().to_owned()).collect()
}

async fn is_ready(client: &Client, code: u16) {
    eventually(&format!("readiness {code}"), RECOVERY, || async {
        (client.get("/readyz").await.code() == code).then_some(())
    })
    .await;
}

/// litellm #38121: an unreachable store must neither cause a 401 nor need a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_stops_no_chat_and_is_found_again() {
    let Some(url) = database() else { return };
    let wire = Wire::to(&url, State::Cut).await;
    let stage = Stage::single(|config| on(config, &wire.url(&url))).await;
    is_ready(&stage.client, 503).await;
    let ann = of(&stage.gw, "ann");
    for round in 0..3 {
        let load = Load::start(&of(&stage.gw, "load"), 4, ms(20));
        let begun = Instant::now();
        while begun.elapsed() < ms(1500) {
            let refused = add(&ann, "x").await;
            assert_eq!((refused.code(), refused.error_code()), (503, "store_unavailable".to_owned()));
        }
        is_ready(&stage.client, 503).await;
        wire.set(State::Whole);
        let back = eventually("a write", RECOVERY, || async {
            let reply = add(&ann, &format!("back {round}")).await;
            (reply.code() == 201).then_some(())
        });
        back.await;
        is_ready(&stage.client, 200).await;
        let samples = load.stop().await;
        assert!(samples.len() > 20 && errors(&samples).is_empty(), "{:?}", errors(&samples));
        wire.set(State::Cut);
    }
    wire.set(State::Whole);
    is_ready(&stage.client, 200).await;
    assert_eq!(texts(&ann).await, ["back 0", "back 1", "back 2"]);
}

/// Messages sent while the store was down are stored when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_meanwhile_waits() {
    let Some(url) = database() else { return };
    let wire = Wire::to(&url, State::Whole).await;
    let stage = Stage::single(|config| on(config, &wire.url(&url))).await;
    let ann = of(&stage.gw, "ann");
    assert_eq!(add(&ann, "before").await.code(), 201);
    wire.set(State::Cut);
    let says = json!({"model": "m", "messages": [{"role": "user", "content": "I moved to Lisbon"}]});
    assert_eq!(ann.chat(&says).await.code(), 200);
    stage.gw.wait_log("retrying capture").await;
    wire.set(State::Whole);
    eventually("it is remembered", RECOVERY, || async {
        (texts(&ann).await == ["before", "I moved to Lisbon"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_store_costs_a_chat_the_budget_alone() {
    let Some(url) = database() else { return };
    let wire = Wire::to(&url, State::Whole).await;
    let stage =
        Stage::single(|config| on(config, &wire.url(&url)).set("memory", "recall_budget", "\"100ms\"")).await;
    let ann = of(&stage.gw, "ann");
    assert_eq!(add(&ann, "before").await.code(), 201);
    wire.set(State::Silent);
    let says = json!({"model": "m", "messages": [{"role": "user", "content": "What did I say?"}]});
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let reply = ann.chat(&says).await;
        assert_eq!((reply.code(), reply.header("x-concierge-memory")), (200, "skipped;reason=timeout"));
        quickest = quickest.min(begun.elapsed());
    }
    assert!(quickest < ms(2000), "{quickest:?}");
    is_ready(&stage.client, 503).await;
    wire.set(State::Whole);
    is_ready(&stage.client, 200).await;
    eventually("a write", RECOVERY, || async { (add(&ann, "after").await.code() == 201).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_waiting_cures_is_said_at_the_start() {
    let Some(url) = database() else { return };
    let wrong = url.replace("concierge:concierge@", "concierge:hunter2@");
    let failed = launch().try_start(on(ConfigFile::quick(), &wrong).toml()).await.err().unwrap();
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("password") && !failed.stderr.contains("hunter2"), "{failed}");
}

/// A write on one gateway is visible to the other's next recall, in any order.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_writes_or_forgets_the_other_knows() {
    let Some(url) = database() else { return };
    let (one, other) = (gateway(&url).await, gateway(&url).await);
    let (ann, ann_there) = (of(&one, "ann"), of(&other, "ann"));
    let search = async |client: &Client| found(client, "dog").await;
    for n in 0..40 {
        let (writer, reader) = if n % 2 == 0 { (&ann, &ann_there) } else { (&ann_there, &ann) };
        search(reader).await;
        if n % 10 == 9 {
            let gone = writer.send(Method::DELETE, "/v1/memories", Bytes::new()).await;
            assert_eq!(gone.code(), 200);
            assert!(search(reader).await.is_empty(), "{n}");
        } else {
            assert_eq!(add(writer, &format!("dog {n}")).await.code(), 201);
            assert!(search(reader).await.contains(&format!("dog {n}")), "{n}");
        }
    }
    assert!(search(&of(&other, "bob")).await.is_empty());
}

/// A write that changes nothing gets the epoch that another gateway's write has begun, and must not take it for its
/// own: the other's memory would be missing for as long as the index lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_changes_nothing_hides_nothing() {
    let Some(url) = database() else { return };
    let (one, other) = (gateway(&url).await, gateway(&url).await);
    let (ann, ann_there) = (of(&one, "ann"), of(&other, "ann"));
    let keyed = ann.clone().header("idempotency-key", "k");
    assert_eq!(add(&keyed, "owl").await.code(), 201);
    for (n, what) in ["forgets nothing", "repeats itself"].into_iter().enumerate() {
        found(&ann, "owl").await;
        let text = format!("the owl that the other saw when this one {what}");
        assert_eq!(add(&ann_there, &text).await.code(), 201);
        let nothing = match n {
            0 => ann.send(Method::DELETE, "/v1/memories?session=none", Bytes::new()).await.code(),
            _ => add(&keyed, "owl").await.code(),
        };
        assert_eq!(nothing, [200, 201][n]);
        assert!(found(&ann, "owl").await.contains(&text), "it {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_start_together_agree_on_the_schema() {
    let Some(url) = database() else { return };
    let gateways = many(3, 3, |_| {
        let url = url.clone();
        async move { gateway(&url).await }
    })
    .await;
    for gw in &gateways {
        assert_eq!(add(&of(gw, "ann"), "x").await.code(), 201);
    }
    assert_eq!(texts(&of(&gateways[0], "ann")).await, ["x", "x", "x"]);
}

/// Concurrent writers; sends the number of each write that was acknowledged.
fn writers(client: &Client, lanes: usize) -> (JoinSet<()>, mpsc::UnboundedReceiver<String>) {
    let (sender, acknowledged) = mpsc::unbounded_channel();
    let mut set = JoinSet::new();
    for lane in 0..lanes {
        let (client, sender) = (client.clone(), sender.clone());
        set.spawn(async move {
            for n in 0.. {
                let text = format!("{lane} {n}");
                let body = json!({ "text": text }).to_string();
                let reply = client.try_open(Method::POST, "/v1/memories", body.into()).await;
                if reply.is_ok_and(|reply| reply.status == 201) && sender.send(text).is_err() {
                    return;
                }
            }
        });
    }
    (set, acknowledged)
}

async fn all_texts(client: &Client) -> Vec<String> {
    let lines = client.clone().header("accept", "application/x-ndjson").get("/v1/memories").await;
    let text = String::from_utf8(lines.body.to_vec()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect()
}

/// Twenty kills in the measured run (`CONCIERGE_TEST_KILLS`), two in tests.
fn kills() -> usize {
    std::env::var("CONCIERGE_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_loses_nothing_that_it_acknowledged() {
    let Some(url) = database() else { return };
    let mut acknowledged = Vec::new();
    for _ in 0..kills() {
        let mut gw = gateway(&url).await;
        let (mut set, mut seen) = writers(&of(&gw, "ann"), 4);
        for _ in 0..30 {
            acknowledged.push(seen.recv().await.unwrap());
        }
        gw.signal("KILL");
        gw.wait_exit(RECOVERY).await;
        set.shutdown().await;
        while let Ok(text) = seen.try_recv() {
            acknowledged.push(text);
        }
    }
    let kept = all_texts(&of(&gateway(&url).await, "ann")).await;
    let count = |texts: &[String], text: &String| texts.iter().filter(|kept| *kept == text).count();
    for text in &acknowledged {
        assert!(count(&kept, text) >= count(&acknowledged, text), "{text} is lost");
    }
}

/// It kills the server that the other tests use, so it runs alone: `--ignored`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it kills the server"]
async fn a_killed_server_has_lost_nothing_that_was_acknowledged() {
    let Some(url) = database() else { return };
    let ctl = std::env::var("CONCIERGE_TEST_PGCTL").expect("run it with tests/postgres/with-server");
    let control = |what: &str| assert!(Command::new(&ctl).arg(what).status().unwrap().success(), "{what}");
    let gw = gateway(&url).await;
    let ann = of(&gw, "ann");
    let mut acknowledged = Vec::new();
    for round in 0..kills() {
        let (mut set, mut seen) = writers(&ann, 4);
        for _ in 0..30 {
            acknowledged.push(format!("{} of {round}", seen.recv().await.unwrap()));
        }
        control("kill");
        while let Ok(text) = seen.try_recv() {
            acknowledged.push(format!("{text} of {round}"));
        }
        set.shutdown().await;
        control("start");
        let begun = Instant::now();
        eventually("a write", RECOVERY, || async { (add(&ann, "after").await.code() == 201).then_some(()) })
            .await;
        println!("written again {:?} after the start", begun.elapsed());
        let kept = all_texts(&ann).await;
        let of_round = acknowledged.iter().filter(|text| text.ends_with(&format!(" of {round}")));
        for text in of_round {
            let text = text.rsplit_once(" of ").unwrap().0;
            assert!(kept.iter().any(|kept| kept == text), "{text} is lost in round {round}");
        }
        assert_eq!(ann.send(Method::DELETE, "/v1/memories", Bytes::new()).await.code(), 200);
    }
    println!("{} acknowledged writes over {} kills, none lost", acknowledged.len(), kills());
}
