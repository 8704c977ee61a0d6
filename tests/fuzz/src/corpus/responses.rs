//! Responses, as providers may send them.

use http::Method;

use super::{
    Sample,
    chunks::{CHUNKS, extensions},
    heads::{CODINGS, HEADER_LINES, LENGTHS, LINE_ENDS, line_ends, shown},
};

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 200 ",
    "HTTP/1.1 200",
    "HTTP/1.1 200 A longer reason",
    "HTTP/1.1 200 caf\u{e9}",
    "HTTP/1.1 200 a\tb",
    "HTTP/1.1 200 \u{1}",
    "HTTP/1.1 200 a\u{0}b",
    "HTTP/1.1 299 X",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 429 Slow Down",
    "HTTP/1.1 599 X",
    "HTTP/1.1 600 X",
    "HTTP/1.1 999 X",
    "HTTP/1.1 099 X",
    "HTTP/1.1 99 X",
    "HTTP/1.1 20 X",
    "HTTP/1.1 2000 X",
    "HTTP/1.1 -200 X",
    "HTTP/1.1 2x0 X",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 200OK",
    "HTTP/1.2 200 OK",
    "HTTP/2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/0.9 200 OK",
    "http/1.1 200 OK",
    "HTTP/1.1",
    "ICY 200 OK",
    "<html>",
    "",
    " HTTP/1.1 200 OK",
    "200 OK",
];

/// Heads in front of the one that counts.
const INTERIM: &[(&str, &str)] = &[
    ("100", "HTTP/1.1 100 Continue\r\n\r\n"),
    ("103 with headers", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    ("102 twice", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"),
    ("100 with a length", "HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\n"),
    ("100 in chunks", "HTTP/1.1 100 Continue\r\ntransfer-encoding: chunked\r\n\r\n"),
    ("199", "HTTP/1.1 199 X\r\n\r\n"),
    ("101", "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ("101 with upgrade", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
    ("100 of HTTP/1.0", "HTTP/1.0 100 Continue\r\n\r\n"),
];

/// All of them.
pub fn responses() -> Vec<Sample> {
    [heads(), framings(), bodies()].concat()
}

fn heads() -> Vec<Sample> {
    let status = STATUS_LINES.iter().map(|line| {
        Sample::new(
            format!("status line / {}", shown(line)),
            format!("{line}\r\ncontent-length: 5\r\n\r\nhello"),
        )
    });
    let headers = HEADER_LINES.iter().map(|line| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n{line}\r\n\r\nhello");
        Sample::new(format!("header / {}", shown(line)), head)
    });
    let interim = INTERIM.iter().map(|(name, interim)| {
        Sample::new(
            format!("interim / {name}"),
            format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        )
    });
    let many = [16, 17].map(|count| {
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
        Sample::new(
            format!("interim / {count} times"),
            format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        )
    });
    let counts = [100, 101, 200, 201].map(|count| {
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\nhello", "x: y\r\n".repeat(count));
        Sample::new(format!("header / count / {count}"), head)
    });
    let long =
        Sample::new("header / 20 kB", format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\nhello", "y".repeat(20_000)));
    status.chain(headers).chain(interim).chain(many).chain(counts).chain([long]).collect()
}

/// Every length beside every coding, for the versions, statuses and methods that make a difference.
fn framings() -> Vec<Sample> {
    let kinds = [
        ("HTTP/1.1 200", Method::GET),
        ("HTTP/1.0 200", Method::GET),
        ("HTTP/1.1 204", Method::GET),
        ("HTTP/1.1 304", Method::GET),
        ("HTTP/1.1 200", Method::HEAD),
    ];
    let mut all = Vec::new();
    for (start, method) in kinds {
        for (length, coding) in
            LENGTHS.iter().flat_map(|length| CODINGS.iter().map(move |coding| (length, coding)))
        {
            let lines: String = [length, coding]
                .iter()
                .filter(|line| !line.is_empty())
                .map(|line| format!("{line}\r\n"))
                .collect();
            let body = if coding.is_empty() { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" };
            let name = format!("framing / {method} {start} / {} / {}", shown(length), shown(coding));
            let bytes = format!("{start} X\r\n{lines}\r\n{body}");
            all.push(Sample { method: method.clone(), ..Sample::new(name, bytes) });
        }
    }
    all
}

fn bodies() -> Vec<Sample> {
    let head = "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n";
    let odd = CHUNKS
        .iter()
        .map(|(name, body)| Sample::new(format!("chunks / {name}"), [head.as_bytes(), body].concat()));
    let extended = [16_000, 17_000].map(|bytes| {
        let body = extensions(bytes);
        Sample::new(format!("chunks / extensions of {bytes} bytes"), [head.as_bytes(), &body].concat())
    });
    let head = "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 5\r\n\r\n";
    let ends = LINE_ENDS.iter().flat_map(|(end, bytes)| {
        line_ends(head, bytes)
            .into_iter()
            .map(move |(place, head)| Sample::new(format!("line end / {end} / {place}"), head + "hello"))
    });
    let lengths = [("short", "hell"), ("whole", "hello"), ("with more behind it", "hello!")]
        .map(|(name, body)| Sample::new(format!("length / {name}"), format!("{head}{body}")));
    odd.chain(extended).chain(ends).chain(lengths).collect()
}
