//! A thousand users whose ids are as alike as ids can be, each with a word that nobody else may ever see. Pure.

use std::collections::HashMap;

use fastrand::Rng;

/// Users.
pub const PEOPLE: usize = 1000;
/// Of these everyone has a key of its own; an app speaks for the others.
const WITH_KEYS: usize = 300;
/// What every canary begins with; sixteen hexadecimal digits follow.
pub const MARK: &str = "CANARY-";
const DIGITS: usize = 16;

/// One of them.
#[derive(Clone, Debug)]
pub struct Person {
    /// The user id.
    pub id: String,
    /// The word of its own.
    pub canary: String,
    /// Its own key, if it has one.
    pub key: Option<String>,
}

/// All of them, the same every time.
pub fn people() -> Vec<Person> {
    let mut rng = Rng::with_seed(7);
    let person = |n: usize| Person {
        id: id(n),
        canary: canary(MARK, &mut rng),
        key: (n < WITH_KEYS).then(|| format!("sk-own-key-of-{n:04}")),
    };
    (0..PEOPLE).map(person).collect()
}

/// Eight ids to a number: wildcards, quotes, operators, capitals, letters that only look the same, and one unseen.
fn id(n: usize) -> String {
    let number = n / 8;
    match n % 8 {
        0 => format!("user-{number}"),
        1 => format!("user_{number}"),
        2 => format!("user%{number}"),
        3 => format!("us\u{0435}r-{number}"),
        4 => format!("user-{number}*"),
        5 => format!("user-{number}' OR '1'='1"),
        6 => format!("USER-{number}"),
        _ => format!("user-{number}\u{200b}"),
    }
}

/// A word that is not to be guessed.
pub fn canary(mark: &str, rng: &mut Rng) -> String {
    format!("{mark}{:016x}", rng.u64(..))
}

/// Every word in `bytes` that begins with `mark`, as long as it lasts.
pub fn words<'a>(bytes: &'a [u8], mark: &'a str) -> impl Iterator<Item = &'a str> {
    let starts = memchr::memmem::find_iter(bytes, mark);
    starts.map(move |at| {
        let word = &bytes[at..(at + mark.len() + DIGITS).min(bytes.len())];
        // A word that is cut, or has a letter outside ASCII in it, is nobody's: it counts as foreign.
        std::str::from_utf8(word).unwrap_or(mark)
    })
}

/// Who each canary belongs to.
pub fn owners(people: &[Person]) -> HashMap<String, usize> {
    people.iter().enumerate().map(|(n, person)| (person.canary.clone(), n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_shares_an_id_or_a_word() {
        let people = people();
        let ids: std::collections::HashSet<&str> = people.iter().map(|person| person.id.as_str()).collect();
        assert_eq!((ids.len(), owners(&people).len()), (PEOPLE, PEOPLE));
    }

    #[test]
    fn words_are_found_wherever_they_are() {
        let text = b"\"CANARY-0123456789abcdef\",CANARY-fedcba9876543210CANARY-00";
        let found: Vec<_> = words(text, MARK).collect();
        assert_eq!(found, ["CANARY-0123456789abcdef", "CANARY-fedcba9876543210", "CANARY-00"]);
        assert_eq!(words(b"canary", MARK).count(), 0);
    }
}
