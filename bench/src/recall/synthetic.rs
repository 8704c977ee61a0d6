//! Chats of our own, for whoever has no LoCoMo: two people, a year, facts among small talk.
//!
//! The same every time. Sentences are made from a few patterns, so its figures are far better than those of real
//! chats: it shows that recall works, not how well.

use fastrand::Rng;

use super::data::{Conversation, Question, Turn};

const CONVERSATIONS: u64 = 6;
const SESSIONS: usize = 24;
/// Turns of a session that say nothing.
const SMALL_TALK: usize = 16;
/// 2 January 2023, 18:00 UTC, in seconds since 1970.
const BEGIN: i64 = 1_672_682_400;
const FORTNIGHT: i64 = 14 * 24 * 3600;
const PEOPLE: [[&str; 2]; 6] = [
    ["Ann", "Boris"],
    ["Chidi", "Dolores"],
    ["Emeka", "Freja"],
    ["Goran", "Hana"],
    ["Imani", "Jonas"],
    ["Katya", "Luis"],
];

/// What somebody says, and how it is asked for: `{name}` is who said it, `{x}` a value of its own.
struct Fact {
    says: &'static str,
    values: [&'static str; 4],
    asked: &'static str,
    /// As in LoCoMo: 2 when, 3 in other words, 4 in the same words.
    category: usize,
}

const FACTS: [Fact; 12] = [
    Fact {
        says: "We adopted a {x} from the shelter on Saturday, she already sleeps on my feet.",
        values: ["greyhound", "tabby kitten", "beagle", "parrot"],
        asked: "Which pet did {name} take home?",
        category: 3,
    },
    Fact {
        says: "My new job at the {x} starts next month, I signed the contract this morning!",
        values: ["observatory", "bakery", "shipyard", "city archive"],
        asked: "When did {name} sign the contract for the new job?",
        category: 2,
    },
    Fact {
        says: "The doctor says I am allergic to {x}, so no more of that for me.",
        values: ["walnuts", "shellfish", "penicillin", "strawberries"],
        asked: "What is {name} allergic to?",
        category: 4,
    },
    Fact {
        says: "I finally booked the flight to {x}, two weeks with nothing but a backpack.",
        values: ["Reykjavik", "Lima", "Hanoi", "Nairobi"],
        asked: "Where is {name} going to travel on holiday?",
        category: 3,
    },
    Fact {
        says: "My sister named her baby {x}, after our grandmother.",
        values: ["Ottoline", "Marguerite", "Ingrid", "Perpetua"],
        asked: "What did {name}'s sister name her baby?",
        category: 4,
    },
    Fact {
        says: "I started to learn the {x} and my neighbours hate me already.",
        values: ["trombone", "bagpipes", "cello", "accordion"],
        asked: "Which musical instrument is {name} practising?",
        category: 3,
    },
    Fact {
        says: "My old car broke down for good, so I bought a {x} from a colleague.",
        values: ["cargo bike", "tiny electric car", "motor scooter", "pickup truck"],
        asked: "When did {name} buy a vehicle from a colleague?",
        category: 2,
    },
    Fact {
        says: "For the wedding cake we settled on {x}, the tasting took all afternoon.",
        values: ["lemon and poppy", "pistachio", "chestnut cream", "salted caramel"],
        asked: "Which flavour was chosen for the wedding cake by {name}?",
        category: 4,
    },
    Fact {
        says: "I ran the marathon in {x} hours and could not walk down the stairs afterwards.",
        values: ["three and a half", "just under four", "nearly five", "a bit over four"],
        asked: "How long did the marathon take {name}?",
        category: 3,
    },
    Fact {
        says: "Our book club picked {x} and I am the only one who has finished it.",
        values: ["Middlemarch", "Solaris", "Beloved", "The Leopard"],
        asked: "What is {name}'s book club reading?",
        category: 4,
    },
    Fact {
        says: "The landlord raised the rent again, so we are moving to {x} in spring.",
        values: ["the harbour quarter", "my aunt's farm", "the old brewery", "a houseboat"],
        asked: "When did {name} hear that the rent was going up?",
        category: 2,
    },
    Fact {
        says: "I lost my wallet on the tram, and somebody brought it back with {x} inside.",
        values: ["all the money", "a lottery ticket", "a love poem", "twice the money"],
        asked: "What was in {name}'s purse when it was returned?",
        category: 3,
    },
];

const TALK: [&str; 14] = [
    "Haha, that sounds like you.",
    "How was your week?",
    "I am so tired today, the weather does not help.",
    "Did you sleep well?",
    "Work was fine, nothing special.",
    "We should have dinner again soon.",
    "That is wonderful news!",
    "I have to run, talk to you tomorrow.",
    "What are you up to this evening?",
    "Oh no, I am sorry to hear that.",
    "I watched half of a film and fell asleep.",
    "The coffee machine at the office is broken again.",
    "Say hello to everybody from me!",
    "I keep forgetting to water the plants.",
];

/// All of them.
pub fn conversations() -> Vec<Conversation> {
    (0..CONVERSATIONS)
        .zip(PEOPLE)
        .map(|(seed, people)| conversation(people, &mut Rng::with_seed(seed)))
        .collect()
}

/// Every fact of both people, each in a session of its own or with few others.
fn conversation(people: [&str; 2], rng: &mut Rng) -> Conversation {
    let mut told: Vec<(usize, usize, &Fact, &str)> = Vec::new();
    for (who, fact) in (0..2).flat_map(|who| FACTS.iter().map(move |fact| (who, fact))) {
        told.push((rng.usize(0..SESSIONS), who, fact, fact.values[rng.usize(0..fact.values.len())]));
    }
    let (mut turns, mut questions) = (Vec::new(), Vec::new());
    for session in 0..SESSIONS {
        let begin = turns.len();
        for place in 0..SMALL_TALK {
            turns.push(turn(session, people[place % 2], TALK[rng.usize(0..TALK.len())]));
        }
        for (_, who, fact, value) in told.iter().filter(|(at, ..)| *at == session) {
            let place = begin + rng.usize(1..turns.len() - begin);
            turns.insert(place, turn(session, people[*who], &fact.says.replace("{x}", value)));
        }
    }
    for (_, who, fact, value) in told {
        let (name, says) = (people[who], fact.says.replace("{x}", value));
        let evidence = turns.iter().position(|turn| turn.speaker == name && turn.text == says);
        questions.push(Question {
            text: fact.asked.replace("{name}", name),
            category: fact.category,
            evidence: evidence.into_iter().collect(),
        });
    }
    Conversation { turns, questions }
}

fn turn(session: usize, speaker: &str, text: &str) -> Turn {
    let at = BEGIN + i64::try_from(session).unwrap_or(0) * FORTNIGHT;
    Turn { session: session.to_string(), at, speaker: speaker.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_its_answer_and_every_run_the_same() {
        let all = conversations();
        let asked: usize = all.iter().map(|one| one.questions.len()).sum();
        assert_eq!((all.len(), asked), (6, 6 * 24));
        for conversation in &all {
            for question in &conversation.questions {
                assert_eq!(question.evidence.len(), 1, "{question:?}");
                assert!(conversation.turns[question.evidence[0]].text.len() > 30);
            }
        }
        assert_eq!(format!("{:?}", conversations()), format!("{all:?}"));
    }
}
