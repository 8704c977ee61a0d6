//! Streams as providers send them, cut at every byte: what is read must not depend on where they were cut.

use bytes::Bytes;

use super::EventKind;
use crate::openai::{
    Api,
    sse::{Framer, MAX_EVENT, Run},
    stream_event,
};

/// Everything read from a stream.
#[derive(Debug, Clone, PartialEq, Default)]
struct Told {
    kinds: Vec<String>,
    /// The text of choice 0.
    text: String,
    open: u64,
    opaque: bool,
    total_tokens: Option<u64>,
    /// The bytes that would be relayed to the client.
    relayed: Vec<u8>,
}

impl Told {
    /// One letter for each kind of event that is not noise, repeated letters once.
    fn outline(&self) -> String {
        let mut letters: Vec<_> = self.kinds.iter().filter_map(|kind| kind.chars().next()).collect();
        letters.retain(|letter| *letter != 'N');
        letters.dedup();
        letters.into_iter().collect()
    }
}

/// Reads a stream in pieces as the relay does: noise left out, runs joined.
fn tell<'a>(api: Api, pieces: impl IntoIterator<Item = &'a [u8]>) -> Told {
    let (mut framer, mut run) = (Framer::new(MAX_EVENT), Run::default());
    let (mut told, mut escaped, mut seen, mut finished) = (Told::default(), String::new(), 0, 0);
    let (mut pieces, mut reader) = (pieces.into_iter(), stream_event::ChunkReader::new(api));
    loop {
        let piece = pieces.next();
        framer.push(piece.map(Bytes::copy_from_slice).unwrap_or_default());
        while let Some(event) =
            framer.next_event().unwrap().or_else(|| if piece.is_none() { framer.finish() } else { None })
        {
            let reading = reader.read(&event);
            assert_eq!(reading, stream_event::read(api, &event), "a mould changes nothing");
            (seen, finished) = (seen | reading.seen, finished | reading.finished);
            told.opaque |= reading.opaque;
            escaped.extend(reading.text.as_ref().map(stream_event::Text::escaped));
            told.total_tokens = reading.usage.map(|usage| usage.total_tokens).or(told.total_tokens);
            told.kinds.push(format!("{:?}", reading.kind));
            if reading.kind != EventKind::Noise {
                told.relayed.extend(run.add(event).unwrap_or_default());
            }
        }
        told.relayed.extend(run.take().unwrap_or_default());
        if piece.is_none() {
            break;
        }
    }
    told.text = stream_event::unescape(&escaped).map_or(escaped.clone(), |text| text.into_owned());
    told.open = seen & !finished;
    told
}

/// The whole stream, cut in two at every byte, and byte by byte: all must read and relay the same.
fn check(api: Api, name: &str, stream: &[u8]) -> Told {
    let told = tell(api, [stream]);
    let same = |other: Told, how: &str| {
        assert_eq!(other.kinds, told.kinds, "{name} {how}");
        assert_eq!(
            (&other.text, other.open, other.total_tokens),
            (&told.text, told.open, told.total_tokens),
            "{name} {how}"
        );
        if other.relayed == told.relayed {
            return;
        }
        let again = tell(api, [&other.relayed[..]]);
        assert_eq!(
            (again.text, again.total_tokens),
            (told.text.clone(), told.total_tokens),
            "{name} {how}, relayed"
        );
    };
    for cut in 0..=stream.len() {
        let (left, right) = stream.split_at(cut);
        same(tell(api, [left, right]), &format!("cut at {cut}"));
    }
    same(tell(api, stream.chunks(1)), "byte by byte");
    let again = tell(api, [&told.relayed[..]]);
    assert_eq!((&again.text, again.total_tokens), (&told.text, told.total_tokens), "{name}, relayed");
    told
}

fn delta(text: &str) -> String {
    format!(
        r#"{{"choices":[{{"index":0,"delta":{{"content":{}}},"finish_reason":null}}]}}"#,
        serde_json::json!(text)
    )
}

const ROLE: &str = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

/// Ways to frame one piece of data as an event.
const STYLES: [(&str, &str); 8] = [
    ("lf", "data: {}\n\n"),
    ("crlf", "data: {}\r\n\r\n"),
    ("cr", "data: {}\r\r"),
    ("mixed", "data: {}\n\r\n"),
    ("no space", "data:{}\n\n"),
    ("ids", "id: 7\nretry: 100\ndata: {}\n\n"),
    ("comments", ": OPENROUTER PROCESSING\r\n\r\n:\n\ndata: {}\n\n"),
    ("names and blanks", "event: message\r\ndata: {}\r\n\r\n\r\n\n"),
];

/// Texts that are hard to cut.
const TEXTS: [&[&str]; 6] = [
    &["Hel", "lo", ", world"],
    &["\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}", "\u{1f1e9}\u{1f1ea}"],
    &["\u{4f60}\u{597d}", "\u{3053}\u{3093}", "\u{c548}\u{b155}"],
    &["e\u{301}", "\u{5e9}\u{5c1}", "\u{feff}"],
    &["\"quoted\"\n", "\\n\\u0041", "\r\n\r\ndata: [DONE]\n\n"],
    &[" ", "\u{2028}\u{2029}\u{85}", "\0\u{1}"],
];

#[test]
fn every_text_in_every_style_at_every_cut() {
    for (name, style) in STYLES {
        for texts in TEXTS {
            let chunks = texts.iter().map(|text| delta(text));
            let all =
                [ROLE.to_owned()].into_iter().chain(chunks).chain([STOP, USAGE, "[DONE]"].map(str::to_owned));
            let stream: String = all.map(|data| style.replace("{}", &data)).collect();
            for start in ["", "\u{feff}"] {
                let told = check(Api::Chat, name, format!("{start}{stream}").as_bytes());
                assert_eq!(told.text, texts.concat(), "{name}");
                assert_eq!((&*told.outline(), told.open, told.total_tokens), ("FCFUD", 0, Some(3)), "{name}");
            }
        }
    }
}

/// A quirk: name, stream, outline, text, unfinished choices, total tokens.
type Quirk = (&'static str, &'static str, &'static str, &'static str, u64, Option<u64>);

const QUIRKS: [Quirk; 14] = [
    ("nothing", "", "", "", 0, None),
    ("only comments", ": a\n\n:\n\n\n\n", "", "", 0, None),
    ("cut between events", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", "C", "a", 1, None),
    (
        "cut inside an event",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"del",
        "CM",
        "a",
        1,
        None,
    ),
    (
        "cut inside [DONE]",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DO",
        "C",
        "a",
        1,
        None,
    ),
    (
        "no last blank line",
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]",
        "FD",
        "",
        0,
        None,
    ),
    (
        "after the end",
        "data: [DONE]\n\ndata: {\"choices\":[],\"usage\":{\"total_tokens\":9}}\n\n",
        "DU",
        "",
        0,
        Some(9),
    ),
    (
        "azure",
        "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "FC",
        "a",
        1,
        None,
    ),
    (
        "groq",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"usage\":{\"total_tokens\":5}}}\n\n",
        "F",
        "",
        0,
        Some(5),
    ),
    (
        "usage that grows",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"total_tokens\":1}}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}],\"usage\":{\"total_tokens\":2}}\n\ndata: {\"choices\":[],\"usage\":null}\n\n",
        "CF",
        "ab",
        0,
        Some(2),
    ),
    (
        "half characters",
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\ude00\"}}]}\n\n",
        "C",
        "\u{1f600}",
        1,
        None,
    ),
    (
        "an error in mid-stream",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"m\",\"code\":502},\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
        "CE",
        "a",
        0,
        None,
    ),
    (
        "two choices",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}},{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "CF",
        "a",
        2,
        None,
    ),
    (
        "pings between",
        "event: ping\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\ndata:\n\ndata: alive\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "C",
        "a",
        1,
        None,
    ),
];

#[test]
fn every_quirk_at_every_cut() {
    for (name, stream, outline, text, open, total_tokens) in QUIRKS {
        for stream in [stream.to_owned(), stream.replace('\n', "\r\n"), stream.replace('\n', "\r")] {
            let told = check(Api::Chat, name, stream.as_bytes());
            assert_eq!((&*told.outline(), &*told.text), (outline, text), "{name}");
            assert_eq!((told.open, told.total_tokens), (open, total_tokens), "{name}");
        }
    }
}

#[test]
fn tool_calls_and_responses_at_every_cut() {
    let call = r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":\"\u00e9\"}"}}]}}]}"#;
    let told =
        check(Api::Chat, "tools", format!("data: {ROLE}\n\ndata: {call}\n\ndata: {STOP}\n\n").as_bytes());
    assert!(told.opaque && told.open == 0 && told.text.is_empty());
    let response = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{}}\n\n\
        event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"h\u{e9}\"}\n\n\
        event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}}\n\n";
    let told = check(Api::Responses, "responses", response.as_bytes());
    assert_eq!((&*told.outline(), &*told.text, told.open, told.total_tokens), ("FCF", "h\u{e9}", 0, Some(3)));
}

/// A cut stream must never read as complete.
#[test]
fn a_stream_cut_before_its_end_is_never_whole() {
    let stream: String = [ROLE, &delta("a"), &delta("\u{1f600}"), STOP]
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect();
    let last = stream.trim_end().len();
    for cut in 1..last {
        let told = tell(Api::Chat, [&stream.as_bytes()[..cut]]);
        let damaged = told.kinds.iter().any(|kind| kind == "Malformed");
        assert!(
            damaged || told.open != 0 || told.kinds.is_empty() || told.outline().is_empty(),
            "cut at {cut}: {told:?}"
        );
    }
    assert_eq!(tell(Api::Chat, [&stream.as_bytes()[..last]]).open, 0);
}
