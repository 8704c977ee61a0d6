//! The bytes on the wire: one request, and the answers to it. Pure.
//!
//! Sizes are those of an ordinary chat: a body of 1,720 bytes, an answer of 1,024, a hundred chunks of about 260. A chunk
//! carries the moment when the provider wrote it, in its text, where a gateway that parses and writes again keeps it.

use serde::{Deserialize, Serialize};

/// Bytes of the body of a request.
pub const REQUEST_BYTES: usize = 1_720;
/// Bytes of the body of a whole answer.
pub const ANSWER_BYTES: usize = 1_024;
/// Bytes of one event of a stream.
const EVENT_BYTES: usize = 260;
/// What begins a stamp. It is nowhere else in an answer.
const MARK: u8 = b'@';
/// Digits of a stamp.
const DIGITS: usize = 20;
/// Digits of a user's number in a key.
const KEY_DIGITS: usize = 6;
/// What the user says; a memory of [`memory`] fits it.
const QUESTION: &str = "Which colour did Ann choose for the kitchen of the house by the lake? ";
/// What makes it as long as it has to be.
const FILLER: &str = "Please answer in one short sentence, and do not explain how you know. ";

/// What the provider is asked for. The name of the model says it, because gateways pass it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// A whole answer at once.
    Plain,
    /// A status 500.
    Broken,
    /// To a gateway: a model whose first target is [`Shape::Broken`], its second [`Shape::Plain`].
    Failover,
    /// A stream of a hundred chunks, 5 ms apart.
    Paced,
    /// A stream of a hundred chunks in one write.
    Burst,
    /// A stream of ten chunks, 1 s apart.
    Slow,
}

impl Shape {
    const ALL: [Self; 6] = [Self::Plain, Self::Broken, Self::Failover, Self::Paced, Self::Burst, Self::Slow];

    /// The model's name.
    pub const fn model(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Broken => "broken",
            Self::Failover => "failover",
            Self::Paced => "paced",
            Self::Burst => "burst",
            Self::Slow => "slow",
        }
    }

    /// Content chunks of its stream; 0 if it is none.
    pub const fn chunks(self) -> usize {
        match self {
            Self::Plain | Self::Broken | Self::Failover => 0,
            Self::Paced | Self::Burst => 100,
            Self::Slow => 10,
        }
    }

    /// What a request's body asks for, wherever its `model` stands and however it was written again.
    pub fn asked(body: &[u8]) -> Option<Self> {
        let at = find(body, b"\"model\"")? + b"\"model\"".len();
        let rest = body.get(at..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let name = rest.strip_prefix(b"\"")?.split(|byte| *byte == b'"').next()?;
        // Some gateways leave their prefix in place.
        let name = name.rsplit(|byte| *byte == b'/').next()?;
        Self::ALL.into_iter().find(|shape| shape.model().as_bytes() == name)
    }
}

/// A whole request.
pub fn request(addr: &str, shape: Shape, headers: &[String]) -> Vec<u8> {
    let stream = shape.chunks() > 0;
    let open = format!(
        r#"{{"model":"{}","stream":{stream},"messages":[{{"role":"user","content":"{QUESTION}"#,
        shape.model()
    );
    let body = padded(open, FILLER, r#""}]}"#, REQUEST_BYTES);
    post(addr, "/v1/chat/completions", &body, headers)
}

/// Memories of the user, one of which answers the question, as a request to a gateway that keeps them.
pub fn memory(addr: &str, headers: &[String]) -> Vec<u8> {
    let other = (0..50).map(|n| format!(r#"{{"text":"Guest {n} brought a book about rivers and trains."}}"#));
    let known = r#"{"text":"Ann chose a dark green colour for the kitchen of the house by the lake."}"#;
    let items: Vec<String> = other.chain([known.to_owned()]).collect();
    post(addr, "/v1/memories", &format!(r#"{{"memories":[{}]}}"#, items.join(",")), headers)
}

/// The key of one of many users.
pub fn key(user: usize) -> String {
    format!("sk-bench-user-{user:0KEY_DIGITS$}")
}

/// The header line with the key of the first of many users.
pub fn first_key() -> String {
    format!("authorization: Bearer {}", key(0))
}

/// Puts another user's key in the place of the first one's.
pub fn set_user(request: &mut [u8], user: usize) {
    let first = key(0);
    if let Some(at) = find(request, first.as_bytes()) {
        request[at..at + first.len()].copy_from_slice(key(user).as_bytes());
    }
}

fn post(addr: &str, path: &str, body: &str, headers: &[String]) -> Vec<u8> {
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n{body}")
        .into_bytes()
}

/// A whole answer.
pub fn answer() -> Vec<u8> {
    let open = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Dark green. "#;
    let close = r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":380,"completion_tokens":170,"total_tokens":550}}"#;
    json(200, &padded(open.to_owned(), FILLER, close, ANSWER_BYTES))
}

/// An answer of this status and JSON.
pub fn json(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The head of a stream.
pub const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One content event, written at `stamp` ns, as a chunk of HTTP.
pub fn event(stamp: u64) -> Vec<u8> {
    let open = format!(
        r#"data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{{"index":0,"delta":{{"content":"@{stamp:020} "#
    );
    chunk(&padded(open, "green ", "\"},\"finish_reason\":null}]}\n\n", EVENT_BYTES))
}

/// The last events of a stream and its end.
pub fn farewell() -> Vec<u8> {
    let finish = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    [chunk(finish), chunk("data: [DONE]\n\n"), b"0\r\n\r\n".to_vec()].concat()
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// `open`, as much of `filler` as fits, and `close`: `length` bytes.
fn padded(mut open: String, filler: &str, close: &str, length: usize) -> String {
    let room = length.saturating_sub(open.len() + close.len());
    open.extend(filler.chars().cycle().take(room));
    open + close
}

/// The stamps in `bytes`, and how many bytes are done with: the rest may be the beginning of another one.
pub fn stamps(bytes: &[u8]) -> (Vec<u64>, usize) {
    let (mut found, mut done) = (Vec::new(), 0);
    while let Some(at) = bytes[done..].iter().position(|byte| *byte == MARK) {
        let Some(digits) = bytes.get(done + at + 1..done + at + 1 + DIGITS) else {
            return (found, done + at);
        };
        found.extend(std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok()));
        done += at + 1;
    }
    (found, bytes.len())
}

/// Where `needle` begins.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// The value of a header in a head, as it stands there.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":").filter(|_| found.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(value.trim_ascii())
    })
}

/// The end of a head, behind its blank line.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// `content-length`, if the head states one.
pub fn content_length(head: &[u8]) -> Option<usize> {
    std::str::from_utf8(header(head, "content-length")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(message: &[u8]) -> &[u8] {
        &message[head_end(message).unwrap()..]
    }

    #[test]
    fn bodies_have_their_sizes_and_are_json() {
        let request = request("h:1", Shape::Burst, &["x-a: b".into()]);
        assert_eq!(header(&request, "X-A"), Some(b"b".as_slice()));
        assert_eq!(content_length(&request), Some(REQUEST_BYTES));
        let json: serde_json::Value = serde_json::from_slice(body(&request)).unwrap();
        assert_eq!((json["model"].as_str(), json["stream"].as_bool()), (Some("burst"), Some(true)));
        assert_eq!(body(&answer()).len(), ANSWER_BYTES);
        assert!(serde_json::from_slice::<serde_json::Value>(body(&answer())).is_ok());
        assert!(serde_json::from_slice::<serde_json::Value>(body(&memory("h:1", &[]))).is_ok());
    }

    #[test]
    fn users_take_turns_in_the_same_bytes() {
        let mut request = request("h:1", Shape::Plain, &[first_key()]);
        let length = request.len();
        set_user(&mut request, 99_999);
        assert_eq!(header(&request, "authorization"), Some(b"Bearer sk-bench-user-099999".as_slice()));
        assert_eq!(request.len(), length);
    }

    #[test]
    fn the_shape_is_found_however_it_was_written_again() {
        assert_eq!(Shape::asked(br#"{"messages":[],"model" : "openai/paced"}"#), Some(Shape::Paced));
        assert_eq!(Shape::asked(body(&request("h:1", Shape::Slow, &[]))), Some(Shape::Slow));
        assert_eq!(Shape::asked(br#"{"model":"other"}"#), None);
        assert_eq!(Shape::asked(b""), None);
    }

    #[test]
    fn stamps_survive_any_cut() {
        let stream: Vec<u8> = [event(7), event(u64::MAX), farewell()].concat();
        for cut in 0..stream.len() {
            let (mut found, done) = stamps(&stream[..cut]);
            found.extend(stamps(&stream[done..]).0);
            assert_eq!(found, [7, u64::MAX], "cut at {cut}");
        }
    }

    #[test]
    fn an_event_is_a_chunk_of_json() {
        let event = String::from_utf8(event(42)).unwrap();
        let (length, rest) = event.split_once("\r\n").unwrap();
        let data = rest.strip_suffix("\r\n").unwrap();
        assert_eq!(usize::from_str_radix(length, 16).unwrap(), data.len());
        let json: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let text = json["choices"][0]["delta"]["content"].as_str().unwrap();
        assert!(text.starts_with("@00000000000000000042 "));
    }
}
