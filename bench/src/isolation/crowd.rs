//! A thousand users at once, each of them with a word of its own, through everything that could mix them up: shared
//! connections, failover, retries, cancelled requests, reloads, forged ids, and questions that look like queries.

use std::{
    io,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use concierge_testkit::{ConfigFile, FakeProvider, Gateway};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    people::{MARK, Person, people, words},
    watch::{self, Seen, asker},
};
use crate::{
    setup::{self, scaled},
    storm::figures::Figure,
    wire::{Answer, Line, send},
};

/// Prompts that providers must have seen.
const PROMPTS: u64 = 50_000;
/// Connections, each for many users one after the other.
const LANES: u64 = 64;
const APP_KEY: &str = "sk-the-app-that-speaks-for-others";
/// A new configuration so often.
const RELOAD: Duration = Duration::from_millis(400);
/// Longest patience of a caller who leaves, in milliseconds.
const PATIENCE_MS: u64 = 25;
const QUESTIONS: [&str; 6] = [
    "Where is my hiding place?",
    "\\\"hiding\\\" NEAR/2 place* OR user:*",
    "hiding% place_ __ %%",
    "'; DROP TABLE memories; -- hiding place",
    "hiding place ^ {text}: AND NOT -",
    "h\u{0456}ding place \u{202e} hiding place",
];

/// What the callers saw.
#[derive(Default)]
struct Heard {
    asked: AtomicU64,
    foreign: AtomicU64,
    /// Answers to somebody else.
    mixed_up: AtomicU64,
    /// Memories of others that were there for the asking.
    opened: AtomicU64,
}

struct Stage {
    people: Vec<Person>,
    /// The id of a memory of each.
    memories: Vec<String>,
    seen: Arc<Seen>,
    heard: Heard,
    prompts: u64,
    addr: String,
}

/// All of it.
pub async fn run() -> Vec<Figure> {
    let (people, seen) = (people(), Arc::<Seen>::default());
    let (a, b) = (FakeProvider::start().await, FakeProvider::start().await);
    watch::over(&a, &people, &seen, 30);
    watch::over(&b, &people, &seen, 2);
    let config = config(&a, &b, &people);
    let gateway = setup::launch().start(config.toml()).await;
    let memories = tell(&gateway, &people).await.unwrap_or_else(|why| panic!("a memory was refused: {why}"));
    let (heard, prompts, addr) = (Heard::default(), scaled(PROMPTS), gateway.addr().to_owned());
    let stage = Arc::new(Stage { people, memories, seen, heard, prompts, addr });
    let begun = Instant::now();
    let lanes: JoinSet<()> = (0..LANES).map(|seed| lane(Arc::clone(&stage), seed)).collect();
    tokio::select! {
        _ = lanes.join_all() => {}
        () = reload(&gateway, &config, [&a, &b]) => {}
    }
    println!("The crowd: {:.0} s.", begun.elapsed().as_secs_f64());
    figures(&stage)
}

fn figures(stage: &Stage) -> Vec<Figure> {
    let count = |count: &AtomicU64| count.load(SeqCst) as f64;
    let Stage { seen, heard, .. } = stage;
    vec![
        Figure::at_least(
            "prompts of 1,000 users seen by providers",
            stage.prompts as f64,
            count(&seen.prompts),
        ),
        Figure::at_least(
            "… with a word of their own user recalled",
            stage.prompts as f64 / 4.0,
            count(&seen.own),
        ),
        Figure::at_most("… with a word of another user", 0.0, count(&seen.foreign)),
        Figure::at_most("… that do not say whose they are", 0.0, count(&seen.unmarked)),
        Figure::at_least(
            "searches, lists and ids of others asked",
            stage.prompts as f64 / 20.0,
            count(&heard.asked),
        ),
        Figure::at_most("… that gave a word of another user", 0.0, count(&heard.foreign)),
        Figure::at_most("… memories of others opened or forgotten", 0.0, count(&heard.opened)),
        Figure::at_most("answers that reached another caller", 0.0, count(&heard.mixed_up)),
    ]
}

fn config(a: &FakeProvider, b: &FakeProvider, people: &[Person]) -> ConfigFile {
    let config = ConfigFile::quick()
        .set("routing", "strategy", "\"score\"")
        .set("memory", "include_context", "true")
        .set("memory", "recall_budget", "\"2s\"")
        .set("slots", "queue", "200")
        .set("admin", "token", "\"an-operator-of-the-bench\"");
    let config = config.provider("a", a).provider("b", b).model("m", &["a/m", "b/m"]);
    let keyed = people.iter().filter_map(|person| Some((person.id.as_str(), person.key.as_deref()?)));
    keyed.fold(config.key("app", APP_KEY, "act_for_users = true"), |config, (id, key)| {
        let id = id.replace('"', "\\\"");
        config.key(&id, key, "")
    })
}

/// Everybody tells its word, as a memory and in its context; the ids of the memories.
async fn tell(gateway: &Gateway, people: &[Person]) -> io::Result<Vec<String>> {
    let mut line = Line::open(gateway.addr()).await?;
    let mut ids = Vec::new();
    for person in people {
        let text = format!("My hiding place is {} by the old bridge.", person.canary);
        let body = json!({ "text": text }).to_string();
        let stored = line.ask(&send("POST", "/v1/memories", &person.honest(), body.as_bytes())).await?;
        let id = stored.json()["id"].as_str().map(str::to_owned);
        ids.push(id.ok_or_else(|| io::Error::other(format!("{}: {}", person.id, stored.head)))?);
        let context = json!({ "hideout": person.canary }).to_string();
        line.ask(&send("PUT", "/v1/context", &person.honest(), context.as_bytes())).await?;
    }
    Ok(ids)
}

/// A new configuration again and again, in force without an end to what runs; for ever.
async fn reload(gateway: &Gateway, config: &ConfigFile, providers: [&FakeProvider; 2]) {
    for round in 0u32.. {
        sleep(RELOAD).await;
        let items = (10 + round % 10).to_string();
        gateway.write_config(config.clone().set("memory", "max_items", &items).toml());
        gateway.signal("HUP");
        // Their logs of calls would hold every prompt.
        providers.iter().for_each(|provider| provider.clear());
    }
}

/// Asks for one user after the other until there were enough prompts.
async fn lane(stage: Arc<Stage>, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut line = None;
    while stage.seen.prompts.load(Relaxed) < stage.prompts {
        let mut at_hand = match line.take() {
            Some(line) => line,
            None => match Line::open(&stage.addr).await {
                Ok(line) => line,
                Err(_) => continue,
            },
        };
        // A broken connection is one that we have left, or an answer that was cut: the next one is new.
        if stage.act(&mut at_hand, &mut rng).await.unwrap_or(false) {
            line = Some(at_hand);
        }
    }
}

impl Person {
    /// Says who it is, as it should.
    fn honest(&self) -> Vec<(&str, &str)> {
        match &self.key {
            Some(key) => vec![("x-api-key", key)],
            None => vec![("x-api-key", APP_KEY), ("x-user-id", &self.id)],
        }
    }

    /// The same, and wherever it does not count it claims to be `other`.
    fn forging<'a>(&'a self, other: &'a Self) -> Vec<(&'a str, &'a str)> {
        let mut headers = self.honest();
        if self.key.is_some() {
            headers.push(("x-user-id", &other.id));
        }
        headers.push(("x-openwebui-user-id", &other.id));
        headers.push(("x-forwarded-user", &other.id));
        headers
    }
}

impl Stage {
    /// One request of one user; whether the connection can be used again.
    async fn act(&self, line: &mut Line, rng: &mut Rng) -> io::Result<bool> {
        let (n, other) = (rng.usize(..self.people.len()), rng.usize(..self.people.len()));
        match rng.u8(..20) {
            0 => self.search(line, n, rng).await,
            1 => self.pry(line, n, other, rng).await,
            2..=3 => self.stream(line, n, other, rng).await,
            4..=6 => self.leave(line, n, other, rng).await,
            _ => self.chat(line, n, other, rng).await,
        }
    }

    /// A chat whose body claims to be from somebody else, where that must not count.
    fn request(&self, n: usize, other: usize, stream: bool, rng: &mut Rng) -> Vec<u8> {
        let (one, other) = (&self.people[n], &self.people[other]);
        let question = format!("{} {}", QUESTIONS[rng.usize(..QUESTIONS.len())], asker(n));
        let body = json!({
            "model": "m", "stream": stream, "messages": [{"role": "user", "content": question}],
            "user": other.id, "safety_identifier": other.id, "metadata": {"user_id": other.id},
        });
        let mut headers = one.forging(other);
        let memory = ["on", "on", "read", "write", "off"][rng.usize(..5)];
        headers.push(("x-concierge-memory", memory));
        send("POST", "/v1/chat/completions", &headers, body.to_string().as_bytes())
    }

    async fn chat(&self, line: &mut Line, n: usize, other: usize, rng: &mut Rng) -> io::Result<bool> {
        let answer = line.ask(&self.request(n, other, false, rng)).await?;
        self.hear(&answer, n);
        Ok(true)
    }

    async fn stream(&self, line: &mut Line, n: usize, other: usize, rng: &mut Rng) -> io::Result<bool> {
        line.send(&self.request(n, other, true, rng)).await?;
        let _whole = line.until(b"[DONE]").await?;
        Ok(false)
    }

    /// Goes away at any moment.
    async fn leave(&self, line: &mut Line, n: usize, other: usize, rng: &mut Rng) -> io::Result<bool> {
        let stream = rng.bool();
        line.send(&self.request(n, other, stream, rng)).await?;
        sleep(Duration::from_micros(rng.u64(..PATIENCE_MS * 1000))).await;
        Ok(false)
    }

    async fn search(&self, line: &mut Line, n: usize, rng: &mut Rng) -> io::Result<bool> {
        let body = json!({ "query": QUESTIONS[rng.usize(..QUESTIONS.len())], "limit": 200 }).to_string();
        let headers = self.people[n].honest();
        let answer = line.ask(&send("POST", "/v1/memories/search", &headers, body.as_bytes())).await?;
        self.check(&answer, n);
        Ok(true)
    }

    /// Asks for what is somebody else's, by its id and in a list.
    async fn pry(&self, line: &mut Line, n: usize, other: usize, rng: &mut Rng) -> io::Result<bool> {
        let headers = self.people[n].forging(&self.people[other]);
        let path = format!("/v1/memories/{}", self.memories[other]);
        let method = if rng.bool() { "GET" } else { "DELETE" };
        if n != other {
            let answer = line.ask(&send(method, &path, &headers, b"")).await?;
            self.heard.opened.fetch_add(u64::from(answer.status == 200), Relaxed);
            self.check(&answer, n);
        }
        let cursor = format!("/v1/memories?limit=200&cursor={}.{}", rng.i32(..), rng.i32(..));
        let answer = line.ask(&send("GET", &cursor, &headers, b"")).await?;
        self.check(&answer, n);
        Ok(true)
    }

    /// An answer to a chat says whom it answers.
    fn hear(&self, answer: &Answer, n: usize) {
        let body: Value = answer.json();
        let said = body["choices"][0]["message"]["content"].as_str().unwrap_or_default();
        let mixed_up = said.starts_with("hello ") && !said.ends_with(&asker(n));
        self.heard.mixed_up.fetch_add(u64::from(mixed_up), Relaxed);
    }

    fn check(&self, answer: &Answer, n: usize) {
        self.heard.asked.fetch_add(1, Relaxed);
        let foreign = words(&answer.body, MARK).filter(|word| *word != self.people[n].canary).count();
        self.heard.foreign.fetch_add(foreign as u64, Relaxed);
    }
}
