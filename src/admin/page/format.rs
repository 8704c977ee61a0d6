//! Numbers and times in readable form. The page's script formats times in the same way.
//!
//! Numbers are taken by value and by reference, because templates pass references.

use std::{borrow::Borrow, time::SystemTime};

/// A time for the `<time>` element.
pub(crate) struct PageTime {
    /// The machine-readable date, as RFC 3339.
    pub date: String,
    /// `12 s ago`, `in 3 min`: faster to read than a UTC date.
    pub words: String,
}

impl PageTime {
    /// Formats `date`, which is RFC 3339, relative to `now`.
    pub(crate) fn new(date: &str, now: SystemTime) -> Self {
        Self { date: date.to_owned(), words: relative(date, now) }
    }
}

fn relative(date: &str, now: SystemTime) -> String {
    let Ok(at) = humantime::parse_rfc3339(date) else { return date.to_owned() };
    match now.duration_since(at) {
        Ok(past) if past.as_secs() == 0 => "just now".to_owned(),
        Ok(past) => format!("{} ago", span(past.as_secs())),
        Err(ahead) => format!("in {}", span(ahead.duration().as_secs() + 1)),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `120 ms`, `1.23 s`, `45.6 s`.
pub(crate) fn seconds(time: impl Borrow<f64>) -> String {
    match *time.borrow() {
        time if time < 0.9995 => format!("{:.0} ms", 1000.0 * time),
        time if time < 10.0 => format!("{time:.2} s"),
        time => format!("{time:.1} s"),
    }
}

/// `98.8 %` of 0.988.
pub(crate) fn percent(part: impl Borrow<f64>) -> String {
    match 100.0 * part.borrow() {
        whole if whole >= 99.95 => "100 %".to_owned(),
        small if small > 0.0 && small < 0.05 => "< 0.1 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

/// Groups the digits by thousands: `12,345`.
pub(crate) fn count(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| str::from_utf8(g).ok()).collect();
    groups.join(",")
}

/// The beginning of a request's id: enough to find it by.
pub(crate) fn short(id: &str) -> String {
    match id.char_indices().nth(14) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_told_as_people_do() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let tell = |offset: i64| {
            let span = Duration::from_millis(offset.unsigned_abs());
            let at = if offset < 0 { now - span } else { now + span };
            relative(&humantime::format_rfc3339_millis(at).to_string(), now)
        };
        assert_eq!(tell(-400), "just now");
        assert_eq!(tell(-12_000), "12 s ago");
        assert_eq!(tell(-600_000), "10 min ago");
        assert_eq!(tell(-90_000_000), "25 h ago");
        assert_eq!(tell(-400_000_000), "4 d ago");
        assert_eq!(tell(1_500), "in 2 s");
        assert_eq!(relative("never", now), "never");
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        assert_eq!(
            [0.0, 0.1204, 0.9996, 1.0, 9.876, 45.64].map(seconds),
            ["0 ms", "120 ms", "1.00 s", "1.00 s", "9.88 s", "45.6 s"]
        );
        assert_eq!(
            [0.0, 0.0004, 0.001, 0.988, 0.9996, 1.0].map(percent),
            ["0.0 %", "< 0.1 %", "0.1 %", "98.8 %", "100 %", "100 %"]
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(short("req-561f1acdc4bc684f0e6eaf07"), "req-561f1acdc4…");
        assert_eq!((short("mine").as_str(), short("ääääääääääääääää").as_str()), ("mine", "ääääääääääääää…"));
    }
}
