//! Is the evidence among what was found? Pure arithmetic over questions.
//!
//! Every question counts the same. It must never see a score of the ranking but the first: what counts is the order.

use serde_json::{Value, json};

use super::{
    data::{Conversation, Question},
    desk::Found,
};
use crate::storm::figures::round;

/// What the questions are like; the first row is of all of them.
pub const CATEGORIES: [&str; 6] =
    ["all", "multi-hop", "temporal", "open domain", "single-hop", "adversarial"];
/// The default of `memory.min_score`.
const MIN_SCORE: f64 = 0.25;

/// Sums over questions; [`Figures::shares`] divides them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    questions: f64,
    /// Share of the evidence among the first 5, 10, 20.
    pub recall: [f64; 3],
    /// Any evidence among the first 10.
    pub hit_at_10: f64,
    /// One over the rank of the first evidence.
    pub reciprocal: f64,
    /// All evidence within the budgets.
    pub within: [f64; 3],
    /// An evidence session among the first 5, 10.
    pub session: [f64; 2],
    /// Would anything be injected at the default `min_score`?
    pub injected: f64,
}

impl Figures {
    /// Those of one question.
    pub fn of(conversation: &Conversation, question: &Question, found: &Found) -> Self {
        let places = &found.places;
        let is_evidence = |place: &&usize| question.evidence.contains(place);
        let share = |k: usize| {
            places.iter().take(k).filter(is_evidence).count() as f64 / question.evidence.len() as f64
        };
        let first = places.iter().position(|place| question.evidence.contains(place));
        let whole =
            |within: &Vec<usize>| f64::from(question.evidence.iter().all(|place| within.contains(place)));
        Self {
            questions: 1.0,
            recall: [5, 10, 20].map(share),
            hit_at_10: f64::from(share(10) > 0.0),
            reciprocal: first.map_or(0.0, |at| 1.0 / (at + 1) as f64),
            within: found.within.each_ref().map(whole),
            session: [5, 10].map(|k| session_hit(conversation, places, k, question)),
            injected: f64::from(found.best >= MIN_SCORE),
        }
    }

    /// How many questions.
    pub fn count(&self) -> f64 {
        self.questions
    }

    /// Adds those of other questions.
    pub fn add(&mut self, other: &Self) {
        self.questions += other.questions;
        self.hit_at_10 += other.hit_at_10;
        self.reciprocal += other.reciprocal;
        self.injected += other.injected;
        self.recall.iter_mut().zip(other.recall).for_each(|(sum, x)| *sum += x);
        self.within.iter_mut().zip(other.within).for_each(|(sum, x)| *sum += x);
        self.session.iter_mut().zip(other.session).for_each(|(sum, x)| *sum += x);
    }

    /// All of it per question.
    pub fn shares(&self) -> Self {
        let share = |sum: f64| sum / self.questions.max(1.0);
        Self {
            questions: self.questions,
            recall: self.recall.map(share),
            hit_at_10: share(self.hit_at_10),
            reciprocal: share(self.reciprocal),
            within: self.within.map(share),
            session: self.session.map(share),
            injected: share(self.injected),
        }
    }

    /// The three that have a floor: turn R@10, session any@5, all evidence within 1,024 tokens.
    pub fn floors(&self) -> [f64; 3] {
        let shares = self.shares();
        [shares.recall[1], shares.session[0], shares.within[1]]
    }

    /// For the results file.
    pub fn to_json(&self) -> Value {
        let shares = self.shares();
        let [r5, r10, r20] = shares.recall.map(round);
        let [t512, t1024, t2048] = shares.within.map(round);
        let [s5, s10] = shares.session.map(round);
        json!({
            "questions": self.questions, "r@5": r5, "r@10": r10, "r@20": r20,
            "hit@10": round(shares.hit_at_10), "mrr": round(shares.reciprocal),
            "within_512": t512, "within_1024": t1024, "within_2048": t2048,
            "session_any@5": s5, "session_any@10": s10, "injected": round(shares.injected),
        })
    }
}

/// What questions bring from the memories of somebody who never spoke of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strangers {
    questions: f64,
    /// Score of the best memory.
    pub best: f64,
    /// Whether anything would be injected at the default `min_score`.
    pub injected: f64,
}

impl Strangers {
    /// Adds a question by the score of its best memory.
    pub fn add(&mut self, best: f64) {
        self.questions += 1.0;
        self.best += best;
        self.injected += f64::from(best >= MIN_SCORE);
    }

    /// Per question.
    pub fn mean(self) -> Self {
        let share = |sum: f64| round(sum / self.questions.max(1.0));
        Self { questions: self.questions, best: share(self.best), injected: share(self.injected) }
    }
}

/// One line about them.
pub fn strangers_line(strangers: Strangers) -> String {
    let Strangers { best, injected, .. } = strangers;
    format!(
        "Asked of another's memories: best score {best:.3} on average, something injected for {injected:.3}."
    )
}

/// Whether a session with evidence is among the first `k` that the ranking names.
fn session_hit(conversation: &Conversation, places: &[usize], k: usize, question: &Question) -> f64 {
    let session = |place: &usize| conversation.turns[*place].session.as_str();
    let mut sessions = Vec::new();
    for session in places.iter().map(session) {
        if !sessions.contains(&session) {
            sessions.push(session);
        }
    }
    sessions.truncate(k);
    f64::from(question.evidence.iter().any(|place| sessions.contains(&session(place))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recall::data::Turn;

    fn conversation() -> Conversation {
        let turn = |n: usize| Turn {
            session: (n / 2).to_string(),
            at: 0,
            speaker: "Ann".to_owned(),
            text: n.to_string(),
        };
        Conversation { turns: (0..40).map(turn).collect(), questions: Vec::new() }
    }

    fn figures(evidence: &[usize], places: &[usize]) -> Figures {
        let question = Question { text: String::new(), category: 4, evidence: evidence.to_vec() };
        let within = [1, 2, 3].map(|n| places.iter().take(n).copied().collect());
        Figures::of(&conversation(), &question, &Found { places: places.to_vec(), within, best: 0.3 })
    }

    #[test]
    fn what_was_found_is_counted_by_its_rank() {
        let found = figures(&[7, 30], &[1, 7, 2, 3, 4, 5, 30]);
        assert_eq!((found.recall, found.reciprocal, found.hit_at_10), ([0.5, 1.0, 1.0], 0.5, 1.0));
        assert_eq!((found.within, found.injected), ([0.0, 0.0, 0.0], 1.0));
        assert_eq!(figures(&[7], &[1, 7]).within, [0.0, 1.0, 1.0]);
        assert_eq!(figures(&[7], &[]), Figures { questions: 1.0, injected: 1.0, ..Figures::default() });
    }

    #[test]
    fn a_session_counts_once_however_many_of_its_turns_come() {
        // Sessions 0 to 4 first, each twice; the evidence is in the sixth.
        let ten: Vec<usize> = (0..12).collect();
        assert_eq!(figures(&[10], &ten).session, [0.0, 1.0]);
        assert_eq!(figures(&[9], &ten).session, [1.0, 1.0]);
    }

    #[test]
    fn shares_are_per_question() {
        let mut sum = figures(&[7], &[7]);
        sum.add(&figures(&[7], &[8]));
        assert_eq!((sum.shares().recall, sum.floors()), ([0.5; 3], [0.5, 0.5, 0.5]));
    }
}
