//! What memory finds, how fast, and what it costs: through the port, as an application uses it.
//!
//! In reading order: [`data`] and [`synthetic`] say what was said and what is asked, [`desk`] is a user with its
//! memories, [`quality`] counts what was found, [`speed`] takes the time. It must never put a word of LoCoMo into a
//! file, and never send the gateway more than a user would: text, speaker, session and date.

pub mod data;
pub mod desk;
pub mod quality;
pub mod speed;
pub mod synthetic;

use std::{fmt::Write as _, io, path::PathBuf};

use concierge_testkit::{ConfigFile, FakeProvider, Gateway};
use serde_json::{Value, json};

use self::{
    data::Conversation,
    desk::Desk,
    quality::{CATEGORIES, Figures},
};
use crate::{
    setup,
    storm::{self, figures::Figure},
};

/// Where the conversations are; LoCoMo may not be copied into this repository.
const ADVICE: &str = "LoCoMo is at https://github.com/snap-research/locomo (data/locomo10.json, CC BY-NC 4.0): name its \
    folder as an argument or in CONCIERGE_LOCOMO. Without it the repository's synthetic chats are measured.";

/// The set of real chats.
const REAL: &str = "LoCoMo";

/// Turn R@10, session any@5, all evidence within 1,024 tokens.
type Floors = [f64; 3];
const LOCOMO: Floors = [0.784, 0.94, 0.79];
const SYNTHETIC: Floors = [0.9, 0.95, 0.9];

/// Measures everything. True if every limit is kept.
///
/// # Panics
/// With what is wrong, if the folder holds no LoCoMo or the gateway breaks off.
pub async fn run() -> bool {
    let load = setup::load_average();
    let (name, conversations) = chats();
    let floors = if name == REAL { LOCOMO } else { SYNTHETIC };
    let provider = FakeProvider::start().await;
    let config = ConfigFile::new().provider("a", &provider).model("m", &["a/m"]);
    let gateway = setup::launch().start(config.toml()).await;
    let (all, strangers) = measure(&gateway, &conversations).await.unwrap_or_else(|why| panic!("{why}"));
    println!("{}\n{}", table(&all), quality::strangers_line(strangers));
    let [recall, session, within] = all[0].floors();
    let mut figures = vec![
        Figure::at_least(format!("{name}: turn R@10"), floors[0], recall),
        Figure::at_least("… session any@5", floors[1], session),
        Figure::at_least("… all evidence within 1,024 tokens", floors[2], within),
    ];
    let speed = speed::run(&gateway, &conversations).await.unwrap_or_else(|why| panic!("{why}"));
    figures.extend(speed.figures);
    storm::print(&figures);
    setup::save(
        if floors == LOCOMO { "recall" } else { "recall-synthetic" },
        json!({
            "load_average_before": load, "set": name, "quality": by_category(&all),
            "others": { "best_score": strangers.best, "injected": strangers.injected },
            "speed": speed.details, "limits": figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
        }),
    );
    figures.iter().all(Figure::holds)
}

/// What to measure, and its name.
pub fn chats() -> (&'static str, Vec<Conversation>) {
    let folder = std::env::var_os("CONCIERGE_LOCOMO").map(PathBuf::from);
    let Some(folder) = folder else {
        println!("{ADVICE}\n");
        return ("synthetic", synthetic::conversations());
    };
    let read = data::read(&folder).unwrap_or_else(|why| panic!("{why}\n{ADVICE}"));
    (REAL, read)
}

/// Every question to the user whose conversation it is about, and every question to the user after that one.
pub async fn measure(
    gateway: &Gateway,
    conversations: &[Conversation],
) -> io::Result<([Figures; 6], quality::Strangers)> {
    let mut desks = Vec::new();
    for (n, conversation) in conversations.iter().enumerate() {
        let mut desk = Desk::open(gateway, &format!("speaker-{n}")).await?;
        desk.remember(&conversation.turns).await?;
        desks.push(desk);
    }
    let mut all = [Figures::default(); 6];
    let mut strangers = quality::Strangers::default();
    for (n, conversation) in conversations.iter().enumerate() {
        let next = (n + 1) % conversations.len();
        desks[n].reconnect().await?;
        desks[next].reconnect().await?;
        for question in &conversation.questions {
            let found = desks[n].find(&question.text).await?;
            let figures = Figures::of(conversation, question, &found);
            all[0].add(&figures);
            all[question.category].add(&figures);
            strangers.add(desks[next].best_score(&question.text).await?);
        }
    }
    Ok((all, strangers.mean()))
}

/// The table that is printed.
fn table(all: &[Figures; 6]) -> String {
    let mut out = format!(
        "{:<14}{:>5}    R@5   R@10   R@20 hit@10   MRR |    512   1024   2048 | any@5 any@10 | injected\n",
        "", "n"
    );
    for (name, figures) in CATEGORIES.iter().zip(all).filter(|(_, figures)| figures.count() > 0.0) {
        let shares = figures.shares();
        let percent = |share: f64| format!("{:6.1}", 100.0 * share);
        let row = |shares: &[f64]| shares.iter().map(|share| percent(*share)).collect::<Vec<_>>().join(" ");
        let [recall, within, session] = [&shares.recall[..], &shares.within, &shares.session].map(row);
        let (hit, mrr, injected) = (percent(shares.hit_at_10), shares.reciprocal, percent(shares.injected));
        let count = figures.count();
        let _ =
            writeln!(out, "{name:<14}{count:>5} {recall} {hit} {mrr:.3} | {within} | {session} | {injected}");
    }
    out
}

fn by_category(all: &[Figures; 6]) -> Value {
    let named = CATEGORIES.iter().zip(all).filter(|(_, figures)| figures.count() > 0.0);
    named.map(|(name, figures)| ((*name).to_owned(), figures.to_json())).collect()
}
