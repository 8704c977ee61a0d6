//! Requests and tokens per minute: exactly as many as are allowed, however many ask at once.
//!
//! What comes back while it is measured is allowed too, so the time counts. It must never trust the gateway's own
//! headers for what was spent: the provider's side of it counts.

use std::time::Duration;

use concierge_testkit::{ConfigFile, FakeProvider, Gateway, Request, Script, ms, openai};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    setup,
    storm::figures::Figure,
    wire::{Line, chat},
};

/// Requests per minute; as many may come at once.
const REQUESTS: f64 = 600.0;
const CLIENTS: usize = 100;
/// Tokens per minute.
const TOKENS: f64 = 100_000.0;
/// Requests at the same moment when 99 % are spent.
const AT_ONCE: usize = 64;
const SLOTS: [(&str, &str); 1] = [("per_user", "200")];

/// Both.
pub async fn run() -> Vec<Figure> {
    let mut figures = requests().await;
    figures.extend(tokens().await);
    figures
}

async fn requests() -> Vec<Figure> {
    let provider = FakeProvider::start().await;
    let limit = |config: ConfigFile| config.set("limits", "requests_per_minute", "600");
    let gateway = super::start(&provider, &SLOTS, limit).await;
    let length = if setup::fast() { ms(6000) } else { ms(60_000) };
    let begun = Instant::now();
    let lanes: JoinSet<_> = (0..CLIENTS).map(|_| knock(gateway.addr().to_owned(), begun + length)).collect();
    let told: usize = lanes.join_all().await.into_iter().sum();
    let took = begun.elapsed().as_secs_f64();
    let allowed = provider.calls().len() as f64;
    let exact = REQUESTS + (REQUESTS * took / 60.0).floor();
    println!("Limit 600 per minute: {allowed} allowed ({told} answered) in {took:.2} s, {exact} expected.");
    vec![
        Figure::at_least("limit 600 per minute, 100 clients: allowed", REQUESTS, allowed),
        Figure::at_most("… no more than the limit and the burst of 600", 2.0 * REQUESTS, allowed),
        Figure::at_most("… off from what the time allows", 1.0, (allowed - exact).abs()),
    ]
}

/// Asks until `end`; how often it was let in.
async fn knock(addr: String, end: Instant) -> usize {
    let request = chat("alice", &Value::Null);
    let mut allowed = 0;
    let Ok(mut line) = Line::open(&addr).await else { return 0 };
    while Instant::now() < end {
        match line.ask(&request).await {
            Ok(answer) if answer.status == 200 => allowed += 1,
            _ => sleep(ms(20)).await,
        }
    }
    allowed
}

async fn tokens() -> Vec<Figure> {
    let provider = FakeProvider::start().await;
    provider.script(costly);
    let limit = |config: ConfigFile| config.set("limits", "tokens_per_minute", "100000");
    let gateway = super::start(&provider, &SLOTS, limit).await;
    let request = |user: &str, uses: f64| chat(user, &json!({"max_tokens": 300, "uses": uses}));
    // Another user's full budget shows what one of these requests reserves.
    let left = ask(&gateway, &request("bob", 0.0)).await;
    let reserved = TOKENS - left;
    let spends = json!({"max_tokens": 98_000, "uses": 0.99 * TOKENS});
    ask(&gateway, &chat("alice", &spends)).await;
    let spent = Instant::now();
    let together: JoinSet<_> = (0..AT_ONCE)
        .map(|_| {
            let (addr, request) = (gateway.addr().to_owned(), request("alice", reserved));
            async move { Line::open(&addr).await?.ask(&request).await }
        })
        .collect();
    let together = together.join_all().await;
    let came_back = TOKENS * spent.elapsed().as_secs_f64() / 60.0;
    let granted = together.iter().flatten().filter(|answer| answer.status == 200).count() as f64;
    let over = 0.99 * TOKENS + granted * reserved - TOKENS;
    println!(
        "Tokens: {granted} of 64 let in at 99 %, each reserved {reserved}; {over} over, {came_back:.0} came back."
    );
    vec![
        Figure::at_least("64 requests at once at 99 % of the tokens: let in", 1.0, granted),
        Figure::at_most(
            "… overspent, in reservations of one request",
            1.0,
            (over - came_back).max(0.0) / reserved,
        ),
    ]
}

/// Takes its time, so that all are there before the first is settled, and uses what the request says.
fn costly(request: &Request) -> Script {
    let uses = request.json()["uses"].as_f64().unwrap_or_default() as u64;
    let mut answer: Value = serde_json::from_str(&openai::chat_answer("m", "blue")).unwrap_or_default();
    answer["usage"] = json!({"prompt_tokens": 0, "completion_tokens": uses, "total_tokens": uses});
    Script::json(answer.to_string()).head_after(Duration::from_millis(300))
}

/// What is left of the tokens after this request was let in.
async fn ask(gateway: &Gateway, request: &[u8]) -> f64 {
    let answer = async { Line::open(gateway.addr()).await?.ask(request).await }.await;
    answer
        .ok()
        .and_then(|answer| answer.header("x-ratelimit-remaining-tokens").parse().ok())
        .unwrap_or(f64::NAN)
}
