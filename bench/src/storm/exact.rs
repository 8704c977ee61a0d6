//! Two promises that allow no exceptions: what goes through is not changed, and a cut answer is never shown as whole.
//!
//! Bodies are compared byte for byte, both ways. It must never parse what it compares.

use concierge_testkit::{Client, ConfigFile, End, FakeProvider, Request, Script, openai, sse};
use tokio::task::JoinSet;

use super::figures::Figure;
use crate::{
    caller::{Called, call},
    setup,
};

/// Requests as no library would write them: order, spaces, escapes, numbers and unknown fields must survive.
const REQUESTS: [&str; 6] = [
    r#"{"messages":[{"content":"hi","role":"user"}],"model":"m","z":1,"a":2}"#,
    "{ \"model\" : \"m\",\n\t\"messages\" : [ ] , \"temperature\":0.10, \"seed\":123456789012345678901234567890 }",
    r#"{"model":"m","messages":[{"role":"user","content":"\u00e9\ud83d\udc4b\/ é 世界 \u0000"}],"x":1e400,"y":-0.0,"e":1E+2}"#,
    r#"{"model":"m","messages":[],"logit_bias":{"50256":-100},"top_k":40,"provider":{"order":["a","b"],"nested":{"null":null,"empty":{},"list":[]}}}"#,
    r#"{"stream":true,"model":"m","messages":[{"role":"user","content":"s"}],"stream_options":{"include_usage":true,"x":[1]}}"#,
    r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}],"n":2}"#,
];

/// Answers as odd as the requests.
const ANSWERS: [&str; 4] = [
    r#"{"z":1,"id":"x","choices":[{"message":{"role":"assistant","content":"\u00e9\ud83d\udc4b\/"},"index":0,"finish_reason":"stop","extra":{"b":1,"a":[0.10,1e400]}}],"model":"m","object":"chat.completion"}"#,
    "\n\n { \"id\" : \"x\" , \"object\":\"chat.completion\",\"choices\":[ {\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"} ], \"model\":\"m\" }\n",
    r#"{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","reasoning_content":"hm","annotations":[]},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"x_time":0.10}}"#,
    r#"{"id":"x","object":"chat.completion","model":"other/m-0613","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\": 1.0}"}}]},"finish_reason":"tool_calls"}]}"#,
];

/// Data lines of a stream with the same oddities.
const CHUNKS: [&str; 4] = [
    r#"{"z":1,"id":"x","object":"chat.completion.chunk","model":"m","choices":[{"delta":{"role":"assistant","content":""},"index":0}]}"#,
    r#"{ "id":"x", "model":"m","choices":[ {"index":0,"delta":{"content":"\ud83d"},"p":0.10} ],"x":1e400}"#,
    r#"{"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"\udc4b 世界 \/"}}],"usage":null}"#,
    r#"{"id":"x","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop","b":{},"a":[]}]}"#,
];

/// What the cut streams say.
const SHORT: &str = "red green blue";
/// Cuts before a fresh gateway: with every call failing over, a longer run would meet the retry budget instead.
const PER_GATEWAY: usize = 240;
/// Cut streams at once.
const AT_ONCE: usize = 16;

/// Both promises.
pub async fn run() -> Vec<Figure> {
    let mut figures = vec![Figure::at_most("JSON changed on its way", 0.0, changed().await as f64)];
    for (rescue, least) in [("error", 0.0), ("continue", 100.0)] {
        let seen = cuts(rescue).await;
        let name = |what: &str| format!("{} cuts, rescue = {rescue}: {what}", seen.cuts);
        figures.push(Figure::at_most(name("shown as whole"), 0.0, seen.shown_as_whole as f64));
        figures.push(Figure::at_least(name("whole answers, %"), least, seen.whole_percent()));
    }
    figures
}

/// How many bodies were changed, in either direction.
async fn changed() -> usize {
    let provider = FakeProvider::start().await;
    let config = ConfigFile::new().provider("a", &provider).model("m", &["a/m"]);
    let gateway = setup::launch().start(config.toml()).await;
    let client = gateway.client();
    let mut changed = 0;
    let mut compare = |what: &str, sent: &[u8], got: &[u8]| {
        if sent != got {
            changed += 1;
            let text = String::from_utf8_lossy;
            println!("Changed: {what}\n  sent {}\n  got  {}", text(sent), text(got));
        }
    };
    for body in REQUESTS {
        provider.clear();
        client.post_bytes("/v1/chat/completions", body).await;
        compare("request", body.as_bytes(), provider.calls().first().map_or(b"", |call| &call.body[..]));
    }
    for body in ANSWERS {
        provider.next(Script::json(body));
        compare("answer", body.as_bytes(), &client.chat(&openai::ask("m")).await.body);
    }
    let events: Vec<String> = CHUNKS.iter().map(|data| format!("data: {data}\n\n")).collect();
    provider.next(Script::sse(events.into_iter().chain([openai::DONE.to_owned()])));
    let heard = client.stream(&openai::ask_stream("m")).await;
    let got: Vec<String> = heard.events.into_iter().filter_map(|event: sse::Event| event.data).collect();
    compare("stream", format!("{}\n[DONE]", CHUNKS.join("\n")).as_bytes(), got.join("\n").as_bytes());
    changed
}

/// What a cut at every byte showed.
#[derive(Default)]
struct Cuts {
    cuts: usize,
    whole: usize,
    shown_as_whole: usize,
}

impl Cuts {
    fn whole_percent(&self) -> f64 {
        super::figures::percent(self.whole, self.cuts)
    }
}

/// A short stream cut at every byte of its answer, by a close and by a reset, with a healthy second provider.
async fn cuts(rescue: &str) -> Cuts {
    let length = Script::sse(openai::chat_chunks("m", SHORT)).wire_len();
    let plan: Vec<(usize, bool)> = (0..length).flat_map(|at| [(at, false), (at, true)]).collect();
    let mut seen = Cuts::default();
    for portion in plan.chunks(PER_GATEWAY) {
        cut_portion(rescue, portion, &mut seen).await;
    }
    seen
}

async fn cut_portion(rescue: &str, portion: &[(usize, bool)], seen: &mut Cuts) {
    let (cutting, healthy) = (FakeProvider::saying(SHORT).await, FakeProvider::saying(SHORT).await);
    cutting.script(cut);
    let config = ConfigFile::new()
        .set("resilience", "rescue", &format!("{rescue:?}"))
        .set("routing", "strategy", "\"priority\"")
        .set("breaker", "consecutive_failures", "1000000")
        .set("breaker", "success_rate", "0")
        .set("health", "interval", "\"0s\"")
        .provider("cutting", &cutting)
        .provider("healthy", &healthy)
        .model("m", &["cutting/m", "healthy/m"]);
    let gateway = setup::launch().start(config.toml()).await;
    for batch in portion.chunks(AT_ONCE) {
        let calls: JoinSet<Called> = batch.iter().map(|cut| one(gateway.client(), *cut)).collect();
        for called in calls.join_all().await {
            seen.cuts += 1;
            seen.whole += usize::from(called.looks_complete() && called.text == SHORT);
            seen.shown_as_whole += usize::from(called.looks_complete() && called.text != SHORT);
        }
    }
}

/// One call whose `seed` says where it is cut, and whose `top_k` how.
async fn one(client: Client, (at, reset): (usize, bool)) -> Called {
    let mut body = openai::ask_stream("m");
    body["seed"] = at.into();
    body["top_k"] = u8::from(reset).into();
    let client = client.header("x-user-id", &format!("user-{at}"));
    call(client, body, std::time::Duration::from_secs(30)).await
}

fn cut(request: &Request) -> Script {
    let body = request.json();
    let Some(at) = body["seed"].as_u64() else { return openai::sane(request, SHORT) };
    let end = if body["top_k"] == 1 { End::Reset } else { End::Fin };
    Script::sse(openai::chat_chunks("m", SHORT)).cut(at as usize, end)
}
