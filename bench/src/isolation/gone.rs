//! Forgotten means gone: ten thousand times something is told, recalled, cached and forgotten, while others ask for it;
//! and again and again the gateway is killed.
//!
//! From the moment in which the gateway has answered that it is forgotten, no prompt, no search and no byte of the files
//! may have it.

use std::{
    collections::HashSet,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use concierge_testkit::{ConfigFile, FakeProvider, Gateway, openai};
use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::Instant};

use super::people::{canary, words};
use crate::{
    setup::{self, scaled},
    storm::figures::Figure,
    wire::{Answer, Line, post, send},
};

const TRIALS: u64 = 10_000;
const LANES: u64 = 16;
/// Lives of the gateway; each but the last ends with SIGKILL.
const LIVES: u64 = 21;
/// What every secret begins with.
const MARK: &str = "FORGET-";
const QUESTION: &str = "What is the word on my locker?";
const SEARCH: &str = "/v1/memories/search";

#[derive(Default)]
struct Stage {
    /// What the gateway has said to be gone.
    gone: Mutex<HashSet<String>>,
    /// Trials that came to their end.
    trials: AtomicU64,
    /// Prompts and searches with a secret before it was forgotten: without these nothing is proved.
    recalled: AtomicU64,
    /// The same after.
    prompts: AtomicU64,
    searches: AtomicU64,
    files: AtomicU64,
}

/// Somebody who is told something and forgets it; its user is nobody else's.
struct Lane {
    user: String,
    rng: Rng,
    /// The killing left it open whether this is forgotten: to be asked for again.
    open: Option<String>,
}

/// All of it.
pub async fn run() -> Vec<Figure> {
    let (stage, provider) = (Arc::<Stage>::default(), FakeProvider::start().await);
    let watching = Arc::clone(&stage);
    provider.script(move |request| {
        watching.look(&request.body);
        openai::sane(request, "ok")
    });
    let folder = TempDir::new().unwrap_or_else(|why| panic!("no temporary folder: {why}"));
    let path = folder.path().join("gone.db");
    let config = ConfigFile::single(&provider).set("memory", "path", &format!("{path:?}"));
    let config = config.set("memory", "recall_budget", "\"2s\"").toml();
    let new_lane = |n: u64| Lane { user: format!("forgetful-{n}"), rng: Rng::with_seed(n), open: None };
    let mut lanes: Vec<Lane> = (0..LANES).map(new_lane).collect();
    let begun = Instant::now();
    for life in 1..=LIVES {
        let gateway = setup::launch().start(&config).await;
        lanes = live(&stage, &gateway, lanes, life).await;
        provider.clear();
        stage.search(folder.path());
    }
    println!("Forgotten: {:.0} s.", begun.elapsed().as_secs_f64());
    stage.figures()
}

/// One life of the gateway; the lanes as the killing left them.
async fn live(stage: &Arc<Stage>, gateway: &Gateway, lanes: Vec<Lane>, life: u64) -> Vec<Lane> {
    let enough = scaled(TRIALS) * life / LIVES;
    let addr = gateway.addr().to_owned();
    let running: JoinSet<Lane> = lanes
        .into_iter()
        .map(|mut lane| {
            let (stage, addr) = (Arc::clone(stage), addr.clone());
            async move {
                // Ends with the connection: the gateway was killed.
                drop(lane.run(&stage, &addr).await);
                lane
            }
        })
        .collect();
    while stage.trials.load(SeqCst) < enough {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.signal("KILL");
    running.join_all().await
}

impl Lane {
    async fn run(&mut self, stage: &Stage, addr: &str) -> io::Result<()> {
        let (mut line, mut beside) = (Line::open(addr).await?, Line::open(addr).await?);
        if let Some(secret) = self.open.take() {
            self.forget_all(stage, &mut line, secret).await?;
        }
        // What was forgotten in the last life is asked for in this one first.
        self.ask_after(stage, &mut line).await?;
        loop {
            let secret = canary(MARK, &mut self.rng);
            self.open = Some(secret.clone());
            let body = json!({ "text": format!("The word on my locker is {secret}, do not lose it.") });
            let stored = line.ask(&post("/v1/memories", &self.user, &body)).await?;
            line.ask(&self.chat("before")).await?;
            stage.note(&line.ask(&self.find()).await?, &stage.recalled);
            // Two more recalls are under way while it is forgotten.
            beside.send(&self.chat("before")).await?;
            let forgotten = line.ask(&self.forget(&stored)).await?;
            if forgotten.status != 200 {
                return Err(io::Error::other(forgotten.head));
            }
            stage.forgotten(secret);
            self.open = None;
            self.ask_after(stage, &mut line).await?;
            beside.answer().await?;
            self.ask_after(stage, &mut line).await?;
            stage.trials.fetch_add(1, SeqCst);
        }
    }

    /// Everything, because the id of what was being told is not known.
    async fn forget_all(&self, stage: &Stage, line: &mut Line, secret: String) -> io::Result<()> {
        let answer = line.ask(&send("DELETE", "/v1/memories", &self.who(), b"")).await?;
        if answer.status == 200 {
            stage.forgotten(secret);
        }
        Ok(())
    }

    async fn ask_after(&self, stage: &Stage, line: &mut Line) -> io::Result<()> {
        line.ask(&self.chat("after")).await?;
        stage.note(&line.ask(&self.find()).await?, &stage.searches);
        Ok(())
    }

    fn who(&self) -> [(&str, &str); 2] {
        [("x-user-id", &self.user), ("x-concierge-memory", "read")]
    }

    fn chat(&self, when: &str) -> Vec<u8> {
        let content = format!("{QUESTION} [{when}]");
        let body = json!({"model": "m", "messages": [{"role": "user", "content": content}]});
        send("POST", "/v1/chat/completions", &self.who(), body.to_string().as_bytes())
    }

    fn find(&self) -> Vec<u8> {
        post(SEARCH, &self.user, &json!({ "query": QUESTION }))
    }

    /// By its id, or all there is.
    fn forget(&mut self, stored: &Answer) -> Vec<u8> {
        let stored: Value = stored.json();
        let path = match (self.rng.bool(), stored["id"].as_str()) {
            (true, Some(id)) => format!("/v1/memories/{id}"),
            _ => "/v1/memories".to_owned(),
        };
        send("DELETE", &path, &self.who(), b"")
    }
}

impl Stage {
    fn forgotten(&self, secret: String) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(secret);
    }

    /// A prompt: whoever asks `[after]` has nothing left to be recalled.
    fn look(&self, prompt: &[u8]) {
        let secrets = words(prompt, MARK).count() as u64;
        let after = memchr::memmem::find(prompt, b"[after]").is_some();
        if after { &self.prompts } else { &self.recalled }.fetch_add(secrets, Relaxed);
    }

    fn note(&self, answer: &Answer, count: &AtomicU64) {
        count.fetch_add(words(&answer.body, MARK).count() as u64, Relaxed);
    }

    /// Everything in the folder of a gateway that was killed.
    fn search(&self, folder: &Path) {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for file in files {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            let found = words(&bytes, MARK).filter(|word| gone.contains(*word)).count();
            self.files.fetch_add(found as u64, Relaxed);
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let count = |count: &AtomicU64| count.load(SeqCst) as f64;
        let trials = scaled(TRIALS) as f64;
        vec![
            Figure::at_least("memories told, recalled and forgotten", trials, count(&self.trials)),
            Figure::at_least("… seen in prompts and searches before", trials, count(&self.recalled)),
            Figure::at_most("… in prompts after", 0.0, count(&self.prompts)),
            Figure::at_most("… in searches after", 0.0, count(&self.searches)),
            Figure::at_most(format!("… in the files after {LIVES} times SIGKILL"), 0.0, count(&self.files)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_counts_by_when_it_was_asked_for() {
        let stage = Stage::default();
        stage.look(b"FORGET-0123456789abcdef [before]");
        stage.look(b"nothing [after]");
        assert_eq!((stage.recalled.load(SeqCst), stage.prompts.load(SeqCst)), (1, 0));
        stage.look(b"FORGET-0123456789abcdef FORGET-0123456789abcdee [after]");
        assert_eq!((stage.recalled.load(SeqCst), stage.prompts.load(SeqCst)), (1, 2));
    }

    #[test]
    fn a_byte_in_a_file_shows() {
        let (stage, folder) = (Stage::default(), TempDir::new().unwrap());
        std::fs::write(folder.path().join("x.db-wal"), "..FORGET-0123456789abcdef..").unwrap();
        stage.search(folder.path());
        assert_eq!(stage.files.load(SeqCst), 0, "not forgotten yet");
        stage.forgotten("FORGET-0123456789abcdef".to_owned());
        stage.search(folder.path());
        assert_eq!(stage.files.load(SeqCst), 1);
    }
}
