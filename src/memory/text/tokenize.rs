//! From text to words: what counts as one, which say nothing, and what the ranking reads of a turn.
//!
//! Pure. It must never fail or slow down on odd text: any Unicode, NUL, a megabyte without a space.

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};
use time::OffsetDateTime;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// A longer run of letters is a key, a hash or a prank, and no word (BERT draws the same line).
const MAX_WORD: usize = 100;

/// `Wednesday, 30 September 2026, 12:00 pm`, and some room.
const LONGEST_DATE: usize = 44;

/// Words that most sentences have, and the halves of "don't" and "we'll".
const STOP: &str = " a about am an and are as at be been but by can could d did do does for from had has have he her \
    him his how i if in into is it its just ll m me might my no not of on or our re s she should so such t that the \
    their then there these they this to us ve was we were what when where which who whom why will with would you \
    your may ";

/// Calls `word` for each word of `text` in order: lower case, without accents. Every character of a script without
/// spaces (Han, kana) is a word; `symbol` characters (punctuation, emoji) are left out.
pub(crate) fn words(text: &str, mut word: impl FnMut(&str)) {
    let mut buffer = String::new();
    let mut length = 0;
    let mut flush = |buffer: &mut String, length: &mut usize| {
        if (1..=MAX_WORD).contains(length) {
            word(buffer);
        }
        buffer.clear();
        *length = 0;
    };
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        let alone = stands_alone(c);
        if alone || !c.is_alphanumeric() {
            flush(&mut buffer, &mut length);
        }
        if c.is_alphanumeric() {
            length += 1;
            if length <= MAX_WORD {
                buffer.push(c);
            }
        }
        if alone {
            flush(&mut buffer, &mut length);
        }
    }
    flush(&mut buffer, &mut length);
}

/// Whether a word, as [`words`] gives it, says nothing about what a text is about.
pub(crate) fn is_stop_word(word: &str) -> bool {
    word.len() <= 6 && STOP.split_ascii_whitespace().any(|stop| stop == word)
}

/// Calls `term` with each word of `text` that is no stop word, and its stem (Snowball English; words in other letters
/// are their own stem).
pub(crate) fn terms(text: &str, mut term: impl FnMut(&str, &str)) {
    let stemmer = Stemmer::create(Algorithm::English);
    words(text, |word| {
        if !is_stop_word(word) {
            term(word, &stemmer.stem(word));
        }
    });
}

/// What a question is about is at its ends: of a longer text (a pasted document) its first and last kilobyte.
pub(crate) fn gist(text: &str) -> Cow<'_, str> {
    const END: usize = 1024;
    if text.len() <= 2 * END {
        return Cow::Borrowed(text);
    }
    let boundary = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=END).rev().find(boundary).unwrap_or(0);
    let tail = (text.len() - END..text.len()).find(boundary).unwrap_or(text.len());
    Cow::Owned(format!("{} {}", &text[..head], &text[tail..]))
}

/// How many tokens a model will count, erring high: a word of up to seven letters is one, every further seven another,
/// and so is each punctuation mark and each letter that is not ASCII.
pub(crate) fn tokens(text: &str) -> u32 {
    let (mut tokens, mut run) = (0u32, 0u32);
    for c in text.chars() {
        run = if c.is_ascii_alphanumeric() { run + 1 } else { 0 };
        let starts = run % 7 == 1;
        let alone = run == 0 && (!c.is_whitespace() || c == '\n');
        tokens = tokens.saturating_add(u32::from(starts || alone));
    }
    tokens
}

/// A turn as it is indexed and as it is shown.
pub(crate) fn dated(unix_seconds: i64, speaker: &str, text: &str) -> String {
    let mut dated = String::with_capacity(LONGEST_DATE + speaker.len() + text.len() + "[] : ".len());
    dated.push('[');
    push_date(unix_seconds, &mut dated);
    for part in ["] ", speaker, ": ", text] {
        dated.push_str(part);
    }
    dated
}

/// A date as people write it in a chat's log: `Monday, 8 May 2023, 1:56 pm` (UTC), so that a question finds the day,
/// the month or the year; nothing for a time that no calendar has. By hand: the formatter takes ten times as long, and a block has twenty dates.
fn push_date(unix_seconds: i64, to: &mut String) {
    const WEEKDAYS: [&str; 7] =
        ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let Ok(at) = OffsetDateTime::from_unix_timestamp(unix_seconds) else { return };
    let (year, month, day) = at.to_calendar_date();
    let (hour, half) = (at.hour(), if at.hour() < 12 { " am" } else { " pm" });
    to.push_str(WEEKDAYS[usize::from(at.weekday().number_days_from_monday())]);
    to.push_str(", ");
    push_number(day.into(), to);
    to.push(' ');
    to.push_str(MONTHS[month as usize - 1]);
    to.push_str(if year < 0 { " -" } else { " " });
    push_number(year.unsigned_abs(), to);
    to.push_str(", ");
    push_number(if hour % 12 == 0 { 12 } else { u32::from(hour % 12) }, to);
    to.push_str(if at.minute() < 10 { ":0" } else { ":" });
    push_number(at.minute().into(), to);
    to.push_str(half);
}

/// Appends a number: two digits at once.
pub(crate) fn push_number(number: u32, to: &mut String) {
    const PAIRS: &str = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748\
        495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    if number >= 100 {
        push_number(number / 100, to);
    }
    let at = 2 * (number % 100) as usize;
    let first = at + usize::from(number < 10);
    to.push_str(&PAIRS[first..at + 2]);
}

/// Han, kana and other scripts that put no space between words.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{3040}'..='\u{30FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests;
