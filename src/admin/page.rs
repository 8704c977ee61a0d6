//! `/admin` for people: the same rows as the JSON, as one page without a script that refreshes itself.
//!
//! Model names come from clients and failures from providers, so every text goes through [`escaped`]; the
//! [`policy`] allows the page its own style sheet and nothing else.

use std::{borrow::Cow, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::{Moment, rfc3339, view::Row};
use crate::upstream::TargetState;

const STYLE: &str = include_str!("page.css");
/// Seconds between two looks.
const REFRESH: u32 = 3;
const COLUMNS: [(&str, &str); 9] = [
    ("Target", ""),
    ("State", ""),
    ("Score", "number"),
    ("Share", "number"),
    ("Success", "number"),
    ("Latency", "number"),
    ("Tokens/s", "number"),
    ("In flight", "number"),
    ("Last used", "number"),
];

/// The `content-security-policy` of the page: its style sheet by hash, no script, no frame, no request.
pub fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The page.
pub fn render(rows: &[Row], at: Moment) -> String {
    let head: String = COLUMNS
        .iter()
        .map(|(name, class)| format!(r#"<th scope="col" class="{class}">{name}</th>"#))
        .collect();
    let body: String = if rows.is_empty() {
        format!(r#"<tr><td class="empty" colspan="{}">No target is configured.</td></tr>"#, COLUMNS.len())
    } else {
        rows.iter().map(|row| line(row, at.wall)).collect()
    };
    let (overview, time) = (overview(rows), rfc3339(at.wall));
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH}">
<title>Concierge</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>Concierge</h1><p>{overview}</p></header>
<main><table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody>
</table></main>
<footer><time>{time}</time>, refreshed every {REFRESH} s. Score = 100 × success rate − 10 × seconds of latency, or of
silence while requests wait for longer. Share = the chance that the next request goes there first.</footer>
</body>
</html>
"#
    )
}

fn overview(rows: &[Row]) -> String {
    let closed = rows.iter().filter(|row| row.state == TargetState::Closed).count();
    let in_flight: u64 = rows.iter().map(|row| u64::from(row.in_flight)).sum();
    format!("{closed} of {} targets in service · {in_flight} requests in flight", rows.len())
}

fn line(row: &Row, now: SystemTime) -> String {
    let models = if row.models.is_empty() { "asked for by name".to_owned() } else { row.models.join(", ") };
    let retry =
        row.retry_at.as_deref().map(|at| format!(" Next try {}.", relative(at, now))).unwrap_or_default();
    let state = row.state.as_str();
    let share = format!("{:.0} %", 100.0 * row.share);
    let cells = [
        format!(r#"<th scope="row"><bdi>{}</bdi><small>{}</small></th>"#, escaped(&row.id), escaped(&models)),
        format!(
            r#"<td class="wide"><span class="state {state}">{}</span><small>{}</small></td>"#,
            state.replace('_', " "),
            escaped(&format!("{}{retry}", row.reason)),
        ),
        cell("Score", "number score", &format!("{:.1}", row.score), ""),
        cell("Share", "number", &format!("{share}{}", bar(row.share)), ""),
        cell("Success", "number", &format!("{:.1} %", 100.0 * row.success_rate), &calls(row)),
        cell("Latency", "number", &seconds(Some(row.avg_latency)), &percentiles(row)),
        cell(
            "Tokens/s",
            "number",
            &row.latency.tokens_per_second.map_or("–".into(), |t| format!("{t:.0}")),
            "",
        ),
        cell("In flight", "number", &row.in_flight.to_string(), ""),
        cell(
            "Last used",
            "number",
            &row.last_used.as_deref().map_or("never".into(), |at| relative(at, now)),
            "",
        ),
    ];
    format!("<tr>{}</tr>\n", cells.concat())
}

/// `main` is markup of ours; `small` is text.
fn cell(label: &str, class: &str, main: &str, small: &str) -> String {
    let small = if small.is_empty() { String::new() } else { format!("<small>{}</small>", escaped(small)) };
    format!(r#"<td data-label="{label}" class="{class}">{main}{small}</td>"#)
}

/// An SVG and not a styled element: the policy forbids style attributes.
fn bar(share: f64) -> String {
    let width = (100.0 * share).clamp(0.0, 100.0);
    format!(
        r#"<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="all" width="100" height="8"/><rect class="part" width="{width:.1}" height="8"/></svg>"#
    )
}

fn calls(row: &Row) -> String {
    format!("{} ok · {} failed", row.success_count, row.failure_count)
}

fn percentiles(row: &Row) -> String {
    let latency = &row.latency;
    if latency.p50.is_none() {
        return "not measured yet".to_owned();
    }
    format!("p50 {} · p95 {} · p99 {}", seconds(latency.p50), seconds(latency.p95), seconds(latency.p99))
}

fn seconds(time: Option<f64>) -> String {
    match time {
        None => "–".to_owned(),
        Some(time) if time < 1.0 => format!("{:.0} ms", 1000.0 * time),
        Some(time) => format!("{time:.2} s"),
    }
}

/// `12 s ago`, `in 3 min`: nobody reads a UTC date at a glance.
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

/// `text` as text, in an element or a quoted attribute.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
