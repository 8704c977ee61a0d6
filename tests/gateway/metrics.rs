//! `GET /metrics`: counts and present state are on it, and nothing that a client chose.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use concierge_testkit::{
    Client, ConfigFile, End, Script, eventually, ms,
    openai::{self, SIXTY, ask, ask_stream, chat_chunks, chat_chunks_with_usage},
};
use serde_json::{Value, json};

use super::{
    invented_callers::pipeline,
    setup::{Stage, many, patient},
};

/// Samples by name and labels as they are written, sorted by label.
pub type Samples = BTreeMap<String, f64>;

/// Reads the page line by line; panics at a line that is neither a sample nor a comment.
pub async fn scrape(client: &Client) -> Samples {
    let reply = client.get("/metrics").await;
    assert_eq!(reply.code(), 200, "{reply:?}");
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}"))).collect()
}

fn sample(line: &str) -> Option<(String, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().ok()? };
    let Some((name, labels)) = series.strip_suffix('}').and_then(|series| series.split_once('{')) else {
        return Some((series.to_owned(), value));
    };
    let mut labels: Vec<&str> = labels.split("\",").map(|label| label.trim_end_matches('"')).collect();
    labels.sort_unstable();
    Some((format!("{name} {}", labels.join(" ").replace('"', "")), value))
}

/// The page, once `look` is true of it.
async fn page_with(client: &Client, what: &str, look: impl Fn(&Samples) -> bool) -> Samples {
    let wanted = || async {
        let page = scrape(client).await;
        look(&page).then_some(page)
    };
    eventually(what, ms(5000), wanted).await
}

fn of(page: &Samples, series: &str) -> f64 {
    page.get(series).copied().unwrap_or_else(|| panic!("no {series} in {page:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_counted_where_it_was_served() {
    let stage = Stage::pair().await;
    stage.a.next(Script::sse(chat_chunks_with_usage("m", SIXTY)));
    stage.client.stream(&ask_stream("m")).await;
    stage.chat().await;
    let attempts = "concierge_attempts_total outcome=success target=a/m";
    let page = page_with(&stage.client, "two attempts", |page| page.get(attempts) == Some(&2.0)).await;
    let server = "gen_ai_operation_name=chat gen_ai_request_model=m";
    assert_eq!(of(&page, &format!("gen_ai_server_request_duration_seconds_count {server}")), 2.0);
    assert_eq!(of(&page, &format!("gen_ai_server_time_to_first_token_seconds_count {server}")), 1.0);
    let client = "gen_ai_operation_name=chat gen_ai_provider_name=a gen_ai_request_model=m";
    assert_eq!(of(&page, &format!("gen_ai_client_operation_duration_seconds_count {client}")), 2.0);
    assert_eq!(
        of(&page, &format!("gen_ai_client_operation_time_to_first_chunk_seconds_count {client}")),
        1.0
    );
    let tokens =
        |kind: &str| of(&page, &format!("gen_ai_client_token_usage_sum {client} gen_ai_token_type={kind}"));
    assert_eq!((tokens("input"), tokens("output")), (14.0, 120.0));
    assert_eq!(of(&page, "concierge_attempt_usage_total target=a/m usage=complete"), 2.0);
    assert_eq!(of(&page, "concierge_target_state state=closed target=a/m"), 1.0);
    assert_eq!(of(&page, "concierge_target_share_ratio target=a/m"), 1.0);
    assert_eq!(of(&page, "concierge_overhead_seconds_count"), 2.0);
    assert_eq!(of(&page, "concierge_retry_budget_left"), 500.0);
    assert!(of(&page, "process_resident_memory_bytes") > 1e6 && of(&page, "process_open_fds") > 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failovers_and_refusals_are_counted_by_their_reason() {
    let stage = Stage::pair().await;
    stage.a.next(Script::status(500, "{}"));
    stage.chat().await;
    stage.a.always(Script::status(503, "{}"));
    stage.b.always(Script::reset());
    assert_eq!(stage.chat().await.code(), 502);
    assert_eq!(stage.client.chat(&ask("nobody")).await.code(), 404);
    let page = scrape(&stage.client).await;
    assert_eq!(of(&page, "concierge_failovers_total from=a/m reason=status to=b/m"), 2.0);
    assert_eq!(of(&page, "concierge_failovers_total from=b/m reason=reset to=a/m"), 1.0);
    assert_eq!(of(&page, "concierge_failovers_total from=a/m reason=status to=none"), 1.0);
    assert_eq!(of(&page, "concierge_attempts_total outcome=status target=a/m"), 3.0);
    assert_eq!(of(&page, "concierge_refusals_total code=upstream_error"), 1.0);
    assert_eq!(of(&page, "concierge_refusals_total code=model_not_found"), 1.0);
    let failed = "error_type=upstream_error gen_ai_operation_name=chat gen_ai_request_model=m";
    assert_eq!(of(&page, &format!("gen_ai_server_request_duration_seconds_count {failed}")), 1.0);
    assert!(of(&page, "concierge_retry_budget_left") < 500.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_and_rescued_streams_are_counted() {
    let stage = Stage::pair().await;
    stage.a.next(Script::sse(chat_chunks("m", SIXTY)).stop_after(21, End::Reset));
    stage.b.always(Script::sse(chat_chunks("m", SIXTY)));
    assert_eq!(stage.client.stream(&ask_stream("m")).await.text(), SIXTY);
    let rescued = "concierge_streams_rescued_total model=m";
    let page = page_with(&stage.client, "a rescue", |page| page.get(rescued) == Some(&1.0)).await;
    assert_eq!(of(&page, "concierge_streams_broken_total model=m"), 1.0);
    assert_eq!(of(&page, "concierge_attempts_total outcome=cut target=a/m"), 1.0);
    assert_eq!(of(&page, "concierge_attempts_total outcome=success target=b/m"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_raises_its_alarm_until_it_is_mended() {
    let stage = Stage::pair().await;
    stage.a.next(Script::status(401, "{}"));
    stage.chat().await;
    let alarm = "concierge_target_misconfigured target=a/m";
    assert_eq!(of(&scrape(&stage.client).await, alarm), 1.0);
    stage.client.post("/admin/providers/a/reset", &Value::Null).await;
    assert_eq!(of(&scrape(&stage.client).await, alarm), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_goes_with_a_reload_goes_from_the_page() {
    let stage = Stage::pair().await;
    stage.a.next(Script::status(500, "{}"));
    stage.chat().await;
    stage.chat().await;
    assert!(scrape(&stage.client).await.keys().any(|series| series.contains("b/m")));
    stage.gw.write_config(ConfigFile::single(&stage.a).toml());
    stage.client.post("/admin/reload", &Value::Null).await;
    let page = scrape(&stage.client).await;
    assert!(
        !page.keys().any(|series| series.contains("b/m") || series.contains("provider_name=b")),
        "{page:#?}"
    );
    assert_eq!(of(&page, "concierge_attempts_total outcome=success target=a/m"), 1.0, "what stays is kept");
    assert!(of(&page, "concierge_reloads_total result=done") >= 1.0);
    stage.gw.write_config("nonsense");
    stage.client.post("/admin/reload", &Value::Null).await;
    let page = scrape(&stage.client).await;
    assert!(of(&page, "concierge_reloads_total result=refused") >= 1.0);
    assert_eq!(of(&page, "concierge_config_last_reload_successful"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_for_operators_and_in_the_format_they_ask_for() {
    let stage = Stage::single(|c| c.key("alice", "alice-key-0123456789", "")).await;
    let alice = stage.client.clone().key("alice-key-0123456789");
    assert_eq!(alice.get("/metrics").await.error_code(), "admin_only");
    let plain = stage.client.get("/metrics").await;
    assert!(plain.header("content-type").starts_with("text/plain; version=0.0.4"));
    let open = stage.client.clone().header("accept", "application/openmetrics-text").get("/metrics").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(String::from_utf8_lossy(&open.body).ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_tells_of_the_process_alone() {
    let stage = Stage::single(|c| c.set("telemetry", "metrics", "false")).await;
    assert_eq!(stage.chat().await.code(), 200);
    let page = scrape(&stage.client).await;
    assert!(
        !page.keys().any(|series| series.starts_with("gen_ai") || series.starts_with("concierge_attempts"))
    );
    assert!(
        page.contains_key("process_start_time_seconds")
            && page.contains_key("concierge_target_score target=a/m")
    );
}

/// Every value here is chosen by the client: model, target, user, id, path.
fn strange(n: usize) -> String {
    let model = if n.is_multiple_of(2) { format!("a/stray-{n}") } else { format!("stray-{n}") };
    let pin =
        if n.is_multiple_of(3) { format!("x-concierge-target: a/stray-pin-{n}\r\n") } else { String::new() };
    let path = ["chat/completions", "embeddings", "stray"][n % 3];
    let body = json!({"model": model, "messages": [], "user": format!("stray-{n}")}).to_string();
    format!(
        "POST /v1/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-user-id: stray-{n}\r\n\
         x-request-id: stray-{n}\r\ntraceparent: 00-{n:032x}-{n:016x}-01\r\n{pin}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Unknown callers on one connection,
const BATCH: usize = 100;
/// connections at a time,
const LANES: usize = 16;
/// and batches until the provider may clear its log of calls: growth of the test itself must not count.
const ROUND: usize = 500;

/// As many unknown callers as `CONCIERGE_STRANGERS` says, or 20,000, which an unoptimized build answers in some ten seconds.
/// A million need an optimized build and two minutes, and print the memory they left behind:
/// `CONCIERGE_STRANGERS=1000000 cargo test --profile bench-fast --test gateway -- no_stranger --nocapture`
#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_chooses_a_label() {
    let count = std::env::var("CONCIERGE_STRANGERS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let stage = Stage::single(|c| patient(c).set("resilience", "answer_timeout", "\"60s\"")).await;
    let answers = AtomicUsize::new(0);
    stage.a.script(move |request| {
        // Values that a provider chooses are no labels either.
        let n = answers.fetch_add(1, Relaxed);
        let strange = |script: Script| {
            script
                .header(&format!("x-ratelimit-remaining-stray-{n}-day"), "5000000")
                .header("x-stray", "stray")
        };
        strange(match request.path.ends_with("/chat/completions") {
            true => openai::sane(request, "hi"),
            false => Script::status(404, format!(r#"{{"error":{{"code":"stray-{n}","type":"stray-{n}"}}}}"#)),
        })
    });
    let batches = count / BATCH;
    for begun in (0..batches).step_by(ROUND) {
        let client = stage.client.clone();
        let answered = many(ROUND.min(batches - begun), LANES, move |batch| {
            let (client, first) = (client.clone(), (begun + batch) * BATCH);
            async move { pipeline(&client, (first..first + BATCH).map(strange), "").await }
        })
        .await;
        assert!(
            answered.iter().all(|count| *count == BATCH + 1),
            "each, and the one behind them: {answered:?}"
        );
        stage.a.clear();
    }
    let page = scrape(&stage.client).await;
    println!("{count} strangers: {} series, {} MiB", page.len(), stage.gw.rss() >> 20);
    let stray: Vec<_> = page.keys().filter(|series| series.contains("stray")).collect();
    assert!(stray.is_empty(), "{stray:#?}");
    let names = ["target=", "from=", "to=", "model=", "gen_ai_request_model=", "gen_ai_provider_name="];
    let values: BTreeSet<&str> = page
        .keys()
        .flat_map(|series| series.split(' '))
        .filter_map(|label| names.iter().find_map(|name| label.strip_prefix(name)))
        .collect();
    let known = ["a", "a/m", "closed", "m", "none", "open", "other"];
    assert!(values.iter().all(|value| known.contains(value)), "{values:?}");
    assert!(page.len() < 1000, "{} series", page.len());
}
