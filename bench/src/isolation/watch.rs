//! The provider's eyes: every prompt is searched for words that are not its user's.
//!
//! A prompt says itself who asks, in the last message, which the gateway does not change. It must never trust a header
//! for that: they do not travel.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use concierge_testkit::{FakeProvider, Request, Script, ms, openai};

use super::people::{MARK, Person, owners, words};

/// What the prompts of one run came to.
#[derive(Default)]
pub struct Seen {
    /// Prompts.
    pub prompts: AtomicU64,
    /// Words of somebody else in them.
    pub foreign: AtomicU64,
    /// Prompts with their own user's word, recalled.
    pub own: AtomicU64,
    /// Prompts that do not say who asks.
    pub unmarked: AtomicU64,
}

/// Marks who asks in the text of a question.
pub fn asker(n: usize) -> String {
    format!("[asker {n}]")
}

/// Lets `provider` look at every prompt, and answer what it says who asked; `fails` of a hundred go wrong.
pub fn over(provider: &FakeProvider, people: &[Person], seen: &Arc<Seen>, fails: u8) {
    let (owners, seen) = (owners(people), Arc::clone(seen));
    provider.script(move |request| {
        if !request.is_work() {
            return openai::sane(request, "");
        }
        let asker = look(&request.body, &owners, &seen);
        trouble(request, fails)
            .unwrap_or_else(|| openai::sane(request, &format!("hello {}", self::asker(asker))))
    });
}

/// Counts what is in a prompt; who asks.
fn look(prompt: &[u8], owners: &HashMap<String, usize>, seen: &Seen) -> usize {
    seen.prompts.fetch_add(1, Relaxed);
    let text = String::from_utf8_lossy(prompt);
    let Some(asker) = marked(&text) else {
        seen.unmarked.fetch_add(1, Relaxed);
        return usize::MAX;
    };
    let (mut own, mut foreign) = (0, 0);
    for word in words(prompt, MARK) {
        if owners.get(word) == Some(&asker) { own += 1 } else { foreign += 1 }
    }
    if foreign > 0 {
        println!("A foreign word in a prompt of user {asker}: {text}");
    }
    seen.foreign.fetch_add(foreign, Relaxed);
    seen.own.fetch_add(u64::from(own > 0), Relaxed);
    asker
}

/// Who asks: the last mark, for what was recalled may have older ones.
fn marked(text: &str) -> Option<usize> {
    let at = text.rfind("[asker ")? + "[asker ".len();
    let end = text[at..].find(']')?;
    text[at..at + end].parse().ok()
}

/// Errors, resets, broken streams and silence, by chance.
fn trouble(request: &Request, fails: u8) -> Option<Script> {
    if fastrand::u8(..100) >= fails {
        return None;
    }
    Some(match fastrand::u8(..10) {
        0..=3 => Script::status(500, "{}"),
        4..=5 => Script::status(429, "{}").header("retry-after", "1"),
        6..=7 => Script::reset(),
        8 => Script::silent(),
        _ => openai::sane(request, openai::SIXTY).head_after(ms(100)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::people::people;

    fn counts(prompt: &str) -> [u64; 4] {
        let seen = Seen::default();
        look(prompt.as_bytes(), &owners(&people()), &seen);
        [&seen.prompts, &seen.foreign, &seen.own, &seen.unmarked].map(|count| count.load(Relaxed))
    }

    #[test]
    fn a_foreign_word_shows_wherever_it_is() {
        let people = people();
        let (mine, other) = (&people[5].canary, &people[6].canary);
        assert_eq!(counts(&format!("{mine} [asker 5]")), [1, 0, 1, 0]);
        assert_eq!(counts(&format!("[asker 6] said {other}. [asker 5]")), [1, 1, 0, 0]);
        assert_eq!(counts("CANARY-0000000000000000 [asker 5]"), [1, 1, 0, 0]);
        assert_eq!(counts("nobody"), [1, 0, 0, 1]);
    }
}
