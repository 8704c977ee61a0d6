//! Reads LoCoMo: ten long conversations, and questions with the turns that hold the evidence.
//!
//! A photo's caption is part of its turn. Questions whose evidence names no turn are left out, as everybody does:
//! 1,982 remain. It must never write any of it anywhere.

use std::{collections::HashMap, fs, path::Path};

use serde_json::Value;

/// One conversation.
#[derive(Debug)]
pub struct Conversation {
    /// In order; the key of a turn is its place.
    pub turns: Vec<Turn>,
    /// What is asked about it.
    pub questions: Vec<Question>,
}

/// Something that was said.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The session's name.
    pub session: String,
    /// Seconds since 1970.
    pub at: i64,
    /// A name.
    pub speaker: String,
    /// With the caption.
    pub text: String,
}

/// A question and where its answer is.
#[derive(Debug)]
pub struct Question {
    /// The words.
    pub text: String,
    /// 1 multi-hop, 2 temporal, 3 open domain, 4 single-hop, 5 adversarial.
    pub category: usize,
    /// Places of the turns that hold it.
    pub evidence: Vec<usize>,
}

/// Reads `locomo10.json` in `folder`.
///
/// # Errors
/// What is wrong with the file, in a sentence.
pub fn read(folder: &Path) -> Result<Vec<Conversation>, String> {
    let path = folder.join("locomo10.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let whole: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let samples = whole.as_array().ok_or("not a list of conversations")?;
    samples.iter().map(|sample| conversation(sample).ok_or_else(|| "not LoCoMo's form".to_owned())).collect()
}

fn conversation(sample: &Value) -> Option<Conversation> {
    let chat = sample["conversation"].as_object()?;
    let number = |key: &String| key.strip_prefix("session_")?.parse::<u32>().ok();
    let mut sessions: Vec<u32> = chat.keys().filter_map(number).collect();
    sessions.sort_unstable();
    let (mut turns, mut places) = (Vec::new(), HashMap::new());
    for session in sessions {
        let at = chat.get(&format!("session_{session}_date_time")).and_then(Value::as_str).and_then(time);
        for said in chat[&format!("session_{session}")].as_array()? {
            places.insert(references(said["dia_id"].as_str()?).first().copied()?, turns.len());
            turns.push(turn(session.to_string(), at.unwrap_or(0), said));
        }
    }
    let questions = sample["qa"].as_array()?.iter().filter_map(|asked| question(asked, &places)).collect();
    Some(Conversation { turns, questions })
}

fn turn(session: String, at: i64, said: &Value) -> Turn {
    let words = |field: &str| said[field].as_str().unwrap_or_default();
    let caption = words("blip_caption");
    let photo = if caption.is_empty() { String::new() } else { format!(" [photo: {caption}]") };
    Turn { session, at, speaker: words("speaker").to_owned(), text: format!("{}{photo}", words("text")) }
}

fn question(asked: &Value, places: &HashMap<(u32, u32), usize>) -> Option<Question> {
    let named = asked["evidence"].as_array()?.iter().filter_map(Value::as_str).flat_map(references);
    let mut evidence: Vec<usize> = named.filter_map(|reference| places.get(&reference).copied()).collect();
    evidence.sort_unstable();
    evidence.dedup();
    let text = asked["question"].as_str()?.to_owned();
    let category = usize::try_from(asked["category"].as_u64()?).ok().filter(|n| (1..=5).contains(n))?;
    (!evidence.is_empty()).then_some(Question { text, category, evidence })
}

/// `D1:3` and its misspellings, several of them in one string too: session and turn.
fn references(text: &str) -> Vec<(u32, u32)> {
    let parts = text.split('D').skip(1).map(|part| part.strip_prefix(':').unwrap_or(part));
    parts
        .filter_map(|part| part.split_once(':'))
        .filter_map(|(a, b)| Some((number(a)?, number(b)?)))
        .collect()
}

fn number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// `1:56 pm on 8 May, 2023` in seconds since 1970.
fn time(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split([' ', ',', ':']).filter(|word| !word.is_empty()).collect();
    let [hour, minute, half, "on", day, month, year] = words[..] else { return None };
    let hour = hour.parse::<i64>().ok()? % 12 + if half == "pm" { 12 } else { 0 };
    let month = MONTHS.iter().position(|name| month.starts_with(name))? + 1;
    let date = humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T00:00:00Z")).ok()?;
    let midnight = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(i64::try_from(midnight).ok()? + hour * 3600 + minute.parse::<i64>().ok()? * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_references_are_read_in_every_spelling() {
        assert_eq!(time("1:56 pm on 8 May, 2023"), Some(1_683_554_160));
        assert_eq!(time("12:05 am on 1 January, 1970"), Some(300));
        assert_eq!(time("yesterday"), None);
        assert_eq!(references("D1:3"), [(1, 3)]);
        assert_eq!(references("D:11:26; D20:21"), [(11, 26), (20, 21)]);
        assert_eq!(references("D"), []);
    }
}
