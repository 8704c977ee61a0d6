//! Is the evidence among what is recalled? One fixed configuration, every question.

use concierge::recall::{
    index::{self, UserIndex},
    pack::{Limits, pack},
    rank::{Query, Scored, rank},
};

use super::data::{Conversation, Question};

const BUDGETS: [u32; 3] = [512, 1024, 2048];
const CATEGORIES: [&str; 6] = ["all", "multi-hop", "temporal", "open domain", "single-hop", "adversarial"];

/// Sums over questions; divided when printed.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    questions: f64,
    /// Share of the evidence among the first 5, 10, 20.
    recall: [f64; 3],
    hit_at_10: f64,
    reciprocal: f64,
    /// All evidence within the budget.
    within: [f64; 3],
    /// An evidence session among the first 5, 10.
    session: [f64; 2],
    /// Score of the best turn.
    best: f64,
    /// Would anything be injected at the default `min_score`?
    injected: f64,
}

/// The index of one conversation.
pub fn index(conversation: &Conversation) -> UserIndex {
    let mut index = UserIndex::new();
    for (key, turn) in (0..).zip(&conversation.turns) {
        let session = turn.session.to_string();
        let (at, speaker, text) = (turn.at, turn.speaker.as_str(), turn.text.as_str());
        index.add(&index::Turn { key, session: &session, at, speaker, text, vector: None });
    }
    index
}

/// All questions, by category; the first entry is of all of them.
pub fn measure(conversations: &[Conversation]) -> [Figures; 6] {
    let mut all = [Figures::default(); 6];
    for conversation in conversations {
        let index = index(conversation);
        for question in &conversation.questions {
            let figures = answer(conversation, &index, question);
            all[0].add(&figures);
            if let Some(category) = all.get_mut(question.category) {
                category.add(&figures);
            }
        }
    }
    all
}

/// The mean best score of questions put to a conversation that has nothing to do with them, and the share of them that
/// would have something injected at the default `min_score`.
pub fn strangers(conversations: &[Conversation]) -> (f64, f64) {
    let (mut best, mut injected, mut asked) = (0.0, 0.0, 0.0);
    for (at, conversation) in conversations.iter().enumerate() {
        let index = index(conversation);
        let other = &conversations[(at + 1) % conversations.len()];
        for question in &other.questions {
            let ranked = rank(&index, &Query { text: &question.text, vector: None }, 1);
            let score = ranked.first().map_or(0.0, |scored| f64::from(scored.score));
            best += score;
            injected += f64::from(score >= 0.25);
            asked += 1.0;
        }
    }
    (best / asked, injected / asked)
}

fn answer(conversation: &Conversation, index: &UserIndex, question: &Question) -> Figures {
    let ranked = rank(index, &Query { text: &question.text, vector: None }, usize::MAX);
    let places: Vec<usize> = ranked.iter().map(|scored| scored.key as usize).collect();
    let is_evidence = |place: &&usize| question.evidence.contains(place);
    let found =
        |k: usize| places.iter().take(k).filter(is_evidence).count() as f64 / question.evidence.len() as f64;
    let first = places.iter().position(|place| question.evidence.contains(place));
    let best = ranked.first().map_or(0.0, |scored| f64::from(scored.score));
    Figures {
        questions: 1.0,
        recall: [5, 10, 20].map(found),
        hit_at_10: f64::from(found(10) > 0.0),
        reciprocal: first.map_or(0.0, |at| 1.0 / (at + 1) as f64),
        within: BUDGETS.map(|budget| within(index, &ranked, budget, question)),
        session: [5, 10].map(|k| session_hit(conversation, &places, k, question)),
        best,
        injected: f64::from(best >= 0.25),
    }
}

fn within(index: &UserIndex, ranked: &[Scored], max_tokens: u32, question: &Question) -> f64 {
    let limits = Limits { max_tokens, max_items: usize::MAX, min_score: 0.0 };
    let block = pack(index, ranked, &limits, &[]);
    let packed = |place: &usize| block.items.iter().any(|item| item.key as usize == *place);
    f64::from(question.evidence.iter().all(packed))
}

/// Whether a session with evidence is among the first `k` that the ranking names.
fn session_hit(conversation: &Conversation, places: &[usize], k: usize, question: &Question) -> f64 {
    let session = |place: &usize| conversation.turns[*place].session;
    let mut sessions = Vec::new();
    for session in places.iter().map(session) {
        if !sessions.contains(&session) {
            sessions.push(session);
        }
    }
    f64::from(
        question.evidence.iter().any(|place| sessions.iter().take(k).any(|found| *found == session(place))),
    )
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.questions += other.questions;
        self.hit_at_10 += other.hit_at_10;
        self.reciprocal += other.reciprocal;
        self.best += other.best;
        self.injected += other.injected;
        self.recall.iter_mut().zip(other.recall).for_each(|(sum, x)| *sum += x);
        self.within.iter_mut().zip(other.within).for_each(|(sum, x)| *sum += x);
        self.session.iter_mut().zip(other.session).for_each(|(sum, x)| *sum += x);
    }

    /// The three that have a floor: turn R@10, session any@5, all evidence within 1,024 tokens.
    pub fn floors(&self) -> [f64; 3] {
        [self.recall[1], self.session[0], self.within[1]].map(|sum| sum / self.questions)
    }
}

/// The table that is printed.
pub fn table(all: &[Figures; 6]) -> String {
    let mut out = "                  n    R@5   R@10   R@20  hit@10    MRR |   512   1024   2048 | any@5 any@10 | best  injected\n".to_owned();
    for (name, figures) in CATEGORIES.iter().zip(all) {
        let share = |sum: f64| format!("{:6.1}", 100.0 * sum / figures.questions.max(1.0));
        let row = |sums: &[f64]| sums.iter().map(|sum| share(*sum)).collect::<Vec<_>>().join(" ");
        out += &format!(
            "{name:<14}{:>5} {} {}  {:.3} | {} | {} | {} {}\n",
            figures.questions,
            row(&figures.recall),
            share(figures.hit_at_10),
            figures.reciprocal / figures.questions.max(1.0),
            row(&figures.within),
            row(&figures.session),
            share(figures.best),
            share(figures.injected),
        );
    }
    out
}
