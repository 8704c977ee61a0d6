//! The same questions to both stores: equal while a user's memories are ranked in the gateway, nearly equal when the database
//! selects candidates first.
//!
//! For the latter all conversations are one user's, among turns of nobody: halves of two turns of the same chats, put
//! together by chance, with the words and the lengths of real ones. SQLite ranks all of them, so it says what there is
//! to find.

use std::{io, time::Duration};

use concierge_testkit::{ConfigFile, FakeProvider, Gateway, redis::RedisServer};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::server;
use crate::{
    recall::{
        self,
        data::{Conversation, Question, Turn},
        desk::Desk,
    },
    setup::{self, scaled},
    storm::figures::{Figure, round},
};

/// Memories of the large user.
const ROWS: u64 = 200_000;
/// Of the questions about the large user every so many are asked: each is a search among all of them.
const EVERY: usize = 4;
/// Turns of a session that nobody has held.
const SESSION: usize = 25;
/// Of what SQLite finds, what PostgreSQL must find among candidates.
const SHARE: f64 = 0.98;
/// Until candidates of all rows can be selected.
const FILLED: Duration = Duration::from_secs(1800);
const USER: &str = "talkative";

/// Both comparisons, and how large things are, in bytes.
///
/// # Panics
/// Without Redis, or if a gateway breaks off.
pub async fn run() -> (Vec<Figure>, Value) {
    let (name, conversations) = recall::chats();
    let redis = RedisServer::start().await.unwrap_or_else(|| panic!("no redis-server"));
    let equal = equal(name, &conversations, &redis).await;
    let mut figures = equal.unwrap_or_else(|why| panic!("{why}"));
    let entry = entry_bytes(&redis).await;
    let large = large(name, &conversations, &redis).await;
    let (more, mut sizes) = large.unwrap_or_else(|why| panic!("{why}"));
    figures.extend(more);
    sizes["recall_in_redis"] = json!(entry);
    println!("bytes: {sizes}");
    (figures, sizes)
}

/// A gateway on each store, with SQLite first.
async fn gateways(redis: &RedisServer) -> ([Gateway; 2], String, FakeProvider) {
    let provider = FakeProvider::start().await;
    let config = ConfigFile::new().provider("a", &provider).model("m", &["a/m"]);
    // Whoever has 200,000 memories waits a little longer for them.
    let config =
        config.set("memory", "recall_timeout", "\"60s\"").set("memory", "get_context_timeout", "\"60s\"");
    let url = server::database();
    let file = setup::launch().start(config.toml()).await;
    let shared = server::on(config, &url).set("redis", "url", &format!("{:?}", redis.url()));
    let shared = setup::launch().start(shared.toml()).await;
    ([file, shared], url, provider)
}

async fn equal(name: &str, conversations: &[Conversation], redis: &RedisServer) -> io::Result<Vec<Figure>> {
    let ([file, shared], _, _provider) = gateways(redis).await;
    let (here, _) = recall::measure(&file, conversations).await?;
    let (there, _) = recall::measure(&shared, conversations).await?;
    let differ = here.iter().zip(&there).filter(|(here, there)| here != there).count();
    let floors = [&here, &there].map(|all| all[0].floors().map(round));
    println!(
        "{name}: SQLite {:?}, PostgreSQL {:?} (R@10, session any@5, all within 1,024 tokens)",
        floors[0], floors[1]
    );
    Ok(vec![
        Figure::at_least(
            format!("{name}: turn R@10 on PostgreSQL"),
            here[0].floors()[0],
            there[0].floors()[0],
        ),
        Figure::at_most("… categories with any figure that differs from SQLite's", 0.0, differ as f64),
    ])
}

/// Of what gateways tell each other, on average.
async fn entry_bytes(redis: &RedisServer) -> u64 {
    let each = "local b, n = 0, 0 for _, k in ipairs(redis.call('KEYS', 'concierge:recall:*')) do \
                b = b + redis.call('MEMORY', 'USAGE', k, 'SAMPLES', 0) n = n + redis.call('HLEN', k) - 1 end \
                return math.floor(b / math.max(n, 1))";
    redis.count(&format!("EVAL \"{each}\" 0")).await
}

async fn large(
    name: &str,
    conversations: &[Conversation],
    redis: &RedisServer,
) -> io::Result<(Vec<Figure>, Value)> {
    let all = together(conversations, scaled(ROWS) as usize);
    let ([file, shared], url, _provider) = gateways(redis).await;
    let exact = share_found(&file, &all).await?;
    drop(file);
    let mut desk = Desk::open(&shared, USER).await?;
    desk.remember(&all.turns).await?;
    if setup::fast() {
        // Too few to be too large: the database is told that they are.
        server::said(&url, "UPDATE concierge.users SET bytes = bytes + 40000000");
    }
    let rows = all.turns.len();
    filled(&mut desk, &url, rows).await?;
    let selected = ask(&mut desk, &all).await?;
    println!(
        "{rows} turns of one user, {} questions: R@10 {:.4} of all turns, {:.4} among candidates; {:.1} ms and {:.1} ms each",
        all.questions.len(),
        exact.0,
        selected.0,
        exact.1,
        selected.1
    );
    let found = format!("{name} among {rows} turns: R@10 through pgvector, x SQLite's");
    Ok((vec![Figure::at_least(found, SHARE, selected.0 / exact.0)], row_bytes(&url, rows)))
}

/// Per memory, with indexes.
fn row_bytes(url: &str, rows: usize) -> Value {
    let of = |table: &str| {
        let size = server::said(url, &format!("SELECT pg_total_relation_size('concierge.{table}')"));
        size.parse::<usize>().unwrap_or(0) / rows.max(1)
    };
    json!({ "memory": of("memories"), "words": of("preselection"), "meaning": of("meanings") })
}

/// All conversations as one user's, and turns of nobody up to `rows`.
fn together(conversations: &[Conversation], rows: usize) -> Conversation {
    let (mut turns, mut questions): (Vec<Turn>, Vec<Question>) = Default::default();
    for (n, one) in conversations.iter().enumerate() {
        let first = turns.len();
        turns.extend(
            one.turns.iter().map(|turn| Turn { session: format!("{n}-{}", turn.session), ..turn.clone() }),
        );
        questions.extend(one.questions.iter().map(|question| Question {
            text: question.text.clone(),
            category: question.category,
            evidence: question.evidence.iter().map(|place| first + place).collect(),
        }));
    }
    let questions = questions.into_iter().step_by(EVERY).collect();
    let (said, mut rng) = (turns.len(), Rng::with_seed(7));
    for n in 0..rows.saturating_sub(said) {
        let (one, other) = (&turns[rng.usize(0..said)], &turns[rng.usize(0..said)]);
        let text = format!("{} {}", half(&one.text, true), half(&other.text, false));
        let session = format!("x-{}", n / SESSION);
        turns.push(Turn { session, at: other.at, speaker: one.speaker.clone(), text });
    }
    Conversation { turns, questions }
}

/// The words of the first or the second half.
fn half(text: &str, first: bool) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (begin, end) = words.split_at(words.len() / 2);
    (if first { begin } else { end }).join(" ")
}

async fn share_found(gateway: &Gateway, all: &Conversation) -> io::Result<(f64, f64)> {
    let mut desk = Desk::open(gateway, USER).await?;
    desk.remember(&all.turns).await?;
    ask(&mut desk, all).await
}

/// Mean share of the evidence among the first ten, and milliseconds per question.
async fn ask(desk: &mut Desk, all: &Conversation) -> io::Result<(f64, f64)> {
    desk.reconnect().await?;
    let (mut found, begun) = (0.0, Instant::now());
    for question in &all.questions {
        let places = desk.ranking(&question.text, 10).await?;
        let hits = question.evidence.iter().filter(|place| places.contains(place)).count();
        found += hits as f64 / question.evidence.len() as f64;
    }
    let count = all.questions.len().max(1) as f64;
    Ok((found / count, begun.elapsed().as_secs_f64() * 1e3 / count))
}

/// Waits until the database has worked out what all rows are found by; searches set that going.
async fn filled(desk: &mut Desk, url: &str, rows: usize) -> io::Result<()> {
    let name = format!("SELECT set_config('concierge.user', '{USER}', false)");
    let (begun, mut done) = (Instant::now(), 0);
    while done < rows {
        if begun.elapsed() > FILLED {
            return Err(io::Error::other(format!("after {FILLED:?} {done} of {rows} rows can be selected")));
        }
        desk.reconnect().await?;
        desk.ranking("Where is it?", 10).await?;
        sleep(Duration::from_secs(1)).await;
        let count = server::said(url, &format!("{name}; SELECT count(*) FROM concierge.meanings"));
        done = count.parse().unwrap_or(0);
    }
    println!("{}", json!({ "rows": rows, "seconds_until_selectable": round(begun.elapsed().as_secs_f64()) }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recall::synthetic;

    #[test]
    fn evidence_stays_where_it_was_said() {
        let conversations = synthetic::conversations();
        let all = together(&conversations, 5000);
        assert_eq!(all.turns.len(), 5000);
        let asked = conversations.iter().flat_map(|one| one.questions.iter().map(move |asked| (one, asked)));
        for ((one, asked), question) in asked.step_by(EVERY).zip(&all.questions) {
            let said = |turns: &[Turn], place: usize| turns[place].text.clone();
            assert_eq!(said(&all.turns, question.evidence[0]), said(&one.turns, asked.evidence[0]));
        }
        assert_eq!((half("a b c", true), half("a b c", false)), ("a".to_owned(), "b c".to_owned()));
    }
}
