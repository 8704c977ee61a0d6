//! Whether a client prefers HTML to JSON: content negotiation of RFC 9110, 12.5.1, for two types.
//!
//! JSON is the answer unless HTML is preferred: programs send `*/*` or nothing, browsers name `text/html`.

use http::{HeaderMap, header};

use crate::telemetry::exposition::Format;

/// Whether `accept` gives `text/html` a higher quality than `application/json`.
pub(crate) fn prefers_html(headers: &HeaderMap) -> bool {
    let ranges: Vec<_> = ranges(headers).collect();
    quality(&ranges, ("text", "html")) > quality(&ranges, ("application", "json"))
}

/// OpenMetrics if `accept` names it with at least the quality of Prometheus' own format. Browsers, `*/*` and an absent
/// header get Prometheus' format, which a terminal can show as well.
pub(crate) fn preferred_format(headers: &HeaderMap) -> Format {
    let named: Vec<_> = ranges(headers).filter(|range| range.subtype != "*").collect();
    let open = quality(&named, ("application", "openmetrics-text"));
    match open > 0.0 && open >= quality(&named, ("text", "plain")) {
        true => Format::OpenMetrics,
        false => Format::Prometheus,
    }
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = MediaRange<'_>> {
    let lists = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).filter_map(MediaRange::parse)
}

/// One media range and its quality, 0..1.
struct MediaRange<'a> {
    kind: &'a str,
    subtype: &'a str,
    q: f32,
}

impl<'a> MediaRange<'a> {
    /// `None` for text that is not a media range, or whose quality is invalid.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let q = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        let q = q.map_or(Some(1.0), |q| q.parse().ok().filter(|q| (0.0..=1.0).contains(q)))?;
        Some(Self { kind, subtype, q })
    }

    /// How exactly it matches the type: 2 for both parts, 1 for `type/*`, 0 for `*/*`; `None` for no match.
    fn precision(&self, (kind, subtype): (&str, &str)) -> Option<u8> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (k, "*") if k.eq_ignore_ascii_case(kind) => Some(1),
            (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

/// The quality of the most precise range that matches the type; 0 without one.
fn quality(ranges: &[MediaRange<'_>], media_type: (&str, &str)) -> f32 {
    let named = ranges.iter().filter_map(|range| Some((range.precision(media_type)?, range.q)));
    named.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).map_or(0.0, |(_, q)| q)
}

#[cfg(test)]
mod tests;
