//! A user with its memories, on one connection to the gateway.
//!
//! It must never send what a user would not: a turn is its text, speaker, session and date, a question is its words.

use std::{collections::HashMap, io};

use concierge_testkit::Gateway;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::data::Turn;
use crate::wire::{Answer, Line, post};

/// Most memories in one request.
const BATCH: usize = 1000;
/// The longest list that a search gives.
const LONGEST: usize = 200;
/// Budgets of a block, in tokens.
pub const BUDGETS: [u32; 3] = [512, 1024, 2048];
const SEARCH: &str = "/v1/memories/search";

/// See the module.
pub struct Desk {
    addr: String,
    line: Line,
    user: String,
    /// The place of a turn in its conversation, by the id that the gateway gave it.
    places: HashMap<String, usize>,
}

/// What a question brought: places of turns, best first.
pub struct Found {
    /// As many as a search gives.
    pub places: Vec<usize>,
    /// Those that fit into each of [`BUDGETS`].
    pub within: [Vec<usize>; 3],
    /// Score of the first; 0 if there is none.
    pub best: f64,
}

impl Desk {
    /// A user of `gateway` who has said nothing yet.
    pub async fn open(gateway: &Gateway, user: &str) -> io::Result<Self> {
        let addr = gateway.addr().to_owned();
        let line = Line::open(&addr).await?;
        Ok(Self { addr, line, user: user.to_owned(), places: HashMap::new() })
    }

    /// Takes a new connection: one that was idle for long is closed by the gateway.
    pub async fn reconnect(&mut self) -> io::Result<()> {
        self.line = Line::open(&self.addr).await?;
        Ok(())
    }

    /// Sends turns to be kept.
    pub async fn remember(&mut self, turns: &[Turn]) -> io::Result<()> {
        for batch in turns.chunks(BATCH) {
            let items: Vec<Value> = batch.iter().map(item).collect();
            let stored = self.ask("/v1/memories", &json!({ "memories": items })).await?;
            let list = stored["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            for id in list.iter().filter_map(|item| item["id"].as_str()) {
                self.places.insert(id.to_owned(), self.places.len());
            }
        }
        Ok(())
    }

    /// Searches by `query`, once for the ranking and once for each budget.
    pub async fn find(&mut self, query: &str) -> io::Result<Found> {
        let ranking = self.ask(SEARCH, &json!({ "query": query, "limit": LONGEST })).await?;
        let mut within = [const { Vec::new() }; 3];
        for (found, tokens) in within.iter_mut().zip(BUDGETS) {
            let wanted = json!({ "query": query, "limit": LONGEST, "max_tokens": tokens });
            let list = self.ask(SEARCH, &wanted).await?;
            *found = self.places(&list);
        }
        Ok(Found { places: self.places(&ranking), within, best: best(&ranking) })
    }

    /// Places of the first `limit` of the ranking.
    pub async fn ranking(&mut self, query: &str, limit: usize) -> io::Result<Vec<usize>> {
        let list = self.ask(SEARCH, &json!({ "query": query, "limit": limit })).await?;
        Ok(self.places(&list))
    }

    /// Score of the best memory for `query`.
    pub async fn best_score(&mut self, query: &str) -> io::Result<f64> {
        Ok(best(&self.ask(SEARCH, &json!({ "query": query, "limit": 1 })).await?))
    }

    /// How long a search takes that was (or was not) answered from the cache; `None` if it was the other way round.
    pub async fn time(&mut self, query: &str, cached: bool) -> io::Result<Option<Duration>> {
        let request = post(SEARCH, &self.user, &json!({ "query": query }));
        let asked = Instant::now();
        let answer = self.line.ask(&request).await?;
        let took = asked.elapsed();
        let expected = if cached { "hit" } else { "miss" };
        Ok((good(answer)?["cache"] == expected).then_some(took))
    }

    async fn ask(&mut self, path: &str, body: &Value) -> io::Result<Value> {
        good(self.line.ask(&post(path, &self.user, body)).await?)
    }

    fn places(&self, list: &Value) -> Vec<usize> {
        let items = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(|item| self.places.get(item["id"].as_str()?).copied()).collect()
    }
}

/// The body of an answer that is none of an error.
pub fn good(answer: Answer) -> io::Result<Value> {
    match answer.status {
        200 | 201 => Ok(answer.json()),
        _ => Err(io::Error::other(format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body)))),
    }
}

fn best(list: &Value) -> f64 {
    list["data"][0]["score"].as_f64().unwrap_or(0.0)
}

fn item(turn: &Turn) -> Value {
    let at = std::time::UNIX_EPOCH + Duration::from_secs(turn.at.unsigned_abs());
    json!({
        "text": turn.text, "speaker": turn.speaker, "session": turn.session,
        "created_at": humantime::format_rfc3339_seconds(at).to_string(),
    })
}
