//! P1: malformed bodies. Never a 5xx, never a crash, always an error code, and no memory kept.

use concierge_testkit::openai::{ask, ask_stream};
use fastrand::Rng;
use serde_json::{Value, json};

use super::setup::{Stage, many};

/// Random cases; the seed makes a failure reproducible.
const CASES: usize = 4_000;

fn fixed() -> Vec<Vec<u8>> {
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000)).into_bytes();
    let content = |text: &str| {
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":{text}}}]}}"#).into_bytes()
    };
    let mut all = vec![
        Vec::new(),
        b" ".to_vec(),
        b"\0".to_vec(),
        b"\xff\xfe{\0}\0".to_vec(),
        b"\xef\xbb\xbf{\"model\":\"m\"}".to_vec(),
        b"{\"model\":\"\xff\xff\",\"messages\":[]}".to_vec(),
        b"{\"model\":\"m\",\"messages\":[]}{\"model\":\"m\"}".to_vec(),
        b"{\"model\":\"m\",\"model\":\"n\",\"messages\":[],\"stream\":true,\"stream\":false}".to_vec(),
        b"{\"model\":\"m\",\"messages\":[],\"max_tokens\":1e999,\"n\":-1,\"seed\":99999999999999999999999}"
            .to_vec(),
        b"{\"model\":\"m\",\"messages\":[],}".to_vec(),
        b"{'model':'m'}".to_vec(),
        b"NaN".to_vec(),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        content(&String::from_utf8_lossy(&deep("[", "]"))),
        content(r#""\ud800""#),
        content(r#""\udc00\ud800""#),
        content(r#""\u0000""#),
        content("\"\t\""),
        content("1e400"),
    ];
    let kinds =
        [json!(null), json!(true), json!(7), json!("x"), json!([]), json!({}), json!([null]), json!(-0.5)];
    for field in
        ["model", "messages", "stream", "stream_options", "max_tokens", "user", "metadata", "tools", "n"]
    {
        all.extend(kinds.iter().map(|kind| {
            let mut body = ask("m");
            body[field] = kind.clone();
            body.to_string().into_bytes()
        }));
    }
    all
}

/// A valid request with a few bytes changed, removed, doubled, or cut off.
fn mutated(rng: &mut Rng) -> Vec<u8> {
    let mut good: Value = if rng.bool() { ask("m") } else { ask_stream("m") };
    good["metadata"] = json!({"user_id": "u", "a": [1, 2.5, {"b": null}], "c": "\u{e9}\u{1f44b}"});
    let mut bytes = good.to_string().into_bytes();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match rng.u8(..5) {
            0 => bytes[at] = rng.u8(..),
            1 => bytes.truncate(at.max(1)),
            2 => drop(bytes.drain(at..(at + 3).min(bytes.len() - 1).max(at))),
            3 => bytes.splice(at..at, *b"\"{[\\").for_each(drop),
            _ => bytes[at] = *rng.choice(b"\"\\{}[]:,0eE-tfn\0\x7f\xc3").unwrap_or(&0),
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_our_fault() {
    let stage = Stage::single(|c| c).await;
    let mut rng = Rng::with_seed(5);
    let mut bodies = fixed();
    bodies.extend((0..CASES).map(|_| mutated(&mut rng)));
    stage.chat().await;
    let before = stage.gw.rss();
    let client = stage.client.clone();
    let wrong = many(bodies.len(), 16, move |n| {
        let (client, body) = (client.clone(), bodies[n].clone());
        async move {
            let reply = client.post_bytes("/v1/chat/completions", body.clone()).await;
            let coded = || !reply.error_code().is_empty() && !reply.header("x-request-id").is_empty();
            let good = reply.code() == 200 || (400..500).contains(&reply.code()) && coded();
            (!good).then(|| format!("{} for {:?}", reply.code(), String::from_utf8_lossy(&body)))
        }
    });
    let wrong: Vec<String> = wrong.await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} of them; the first: {}", wrong.len(), wrong[0]);
    assert!(!stage.gw.logs().contains("panicked"), "{}", stage.gw.logs());
    let grown = stage.gw.rss().saturating_sub(before) >> 20;
    assert!(grown < 24, "{grown} MiB");
    assert_eq!(stage.chat().await.code(), 200);
}
