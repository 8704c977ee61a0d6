//! What kind of answer a question wants, and which kinds a turn tells: a time, a number.
//!
//! "When" is answered by a turn that says "yesterday" or "in May" rather than by one that does not, whatever words
//! they share with it (answer types: Prager, Brown, Coden and Radev, "Question-answering by predictive annotation",
//! 2000). English alone: questions in other languages ask for no kind, and nothing changes for them. Pure.

use super::tokenize;

/// Kinds of answers, asked for or told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnswerTypes {
    time: bool,
    number: bool,
}

impl AnswerTypes {
    /// What `query` asks for.
    pub(crate) fn asked(query: &str) -> Self {
        let mut words = Vec::new();
        tokenize::words(query, |word| words.push(word.to_owned()));
        let pairs = words.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
        let mut asked = Self { time: words.first().is_some_and(|word| word == "when"), number: false };
        for pair in pairs {
            // "When" alone in a sentence is no question: "what did you say when we met".
            asked.time |= matches!(
                pair,
                ("when", "did" | "do" | "does" | "is" | "was" | "were" | "will")
                    | ("what" | "which", "date" | "day" | "month" | "year")
            );
            asked.number |= matches!(pair, ("how", "many" | "much" | "long" | "old" | "often"));
        }
        asked
    }

    /// Notes what a word of a turn tells; as [`tokenize::words`] gives it.
    pub(crate) fn note(&mut self, word: &str) {
        self.time |= is_time(word);
        self.number |= is_number(word);
    }

    /// Whether a turn that tells these has what is `asked` for.
    pub(crate) fn meet(self, asked: Self) -> bool {
        self.time && asked.time || self.number && asked.number
    }
}

fn is_time(word: &str) -> bool {
    matches!(
        word,
        "yesterday" | "today" | "tomorrow" | "tonight" | "morning" | "ago" | "last" | "next" | "recently" | "soon"
            | "day" | "days" | "week" | "weeks" | "weekend" | "month" | "months" | "year" | "years"
            | "spring" | "summer" | "autumn" | "fall" | "winter"
            | "monday" | "tuesday" | "wednesday" | "thursday" | "friday" | "saturday" | "sunday"
            // Without May and March, which are more often other words.
            | "january" | "february" | "april" | "june" | "july" | "august"
            | "september" | "october" | "november" | "december"
    )
}

fn is_number(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit())
        || matches!(
            word,
            "one"
                | "two"
                | "three"
                | "four"
                | "five"
                | "six"
                | "seven"
                | "eight"
                | "nine"
                | "ten"
                | "eleven"
                | "twelve"
                | "twenty"
                | "thirty"
                | "fifty"
                | "hundred"
                | "thousand"
                | "once"
                | "twice"
                | "half"
                | "dozen"
                | "couple"
                | "few"
                | "several"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(query: &str, turn: &str) -> bool {
        let mut told = AnswerTypes::default();
        tokenize::words(turn, |word| told.note(word));
        told.meet(AnswerTypes::asked(query))
    }

    #[test]
    fn a_time_answers_when_and_a_number_how_many() {
        assert!(met("When did Ann move?", "I moved last week"));
        assert!(met("And which month was it?", "In October, I think"));
        assert!(met("How many cats has Ann?", "We have 3 now"));
        assert!(met("how long is the drive", "twelve hours"));
        assert!(!met("When did Ann move?", "We have 3 cats"));
        assert!(!met("How many cats has Ann?", "I moved last week"));
    }

    #[test]
    fn other_questions_ask_for_no_kind() {
        for query in ["What did Ann say when we met?", "Where is Ann?", "Wann war das?", "", "how"] {
            assert_eq!(AnswerTypes::asked(query), AnswerTypes::default(), "{query}");
            assert!(!met(query, "yesterday, at 3"));
        }
    }
}
