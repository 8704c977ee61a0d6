//! Requests, each with another behind it that must be found where it begins, or not at all.

use concierge_testkit::smuggling;

use super::{
    Sample,
    chunks::{CHUNKS, extensions},
    heads::{CODINGS, HEADER_LINES, LENGTHS, LINE_ENDS, line_ends, shown},
};

const NEXT: &str = "GET /next HTTP/1.1\r\nhost: h\r\n\r\n";

const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "PURGE",
    "get",
    "x-y",
    "G@T",
    "G(T",
    "G\u{e9}T",
    "",
    "GETGETGETGETGETGETGETGETGET",
];
const TARGETS: &[&str] = &[
    "/",
    "/a?b=c",
    "/?",
    "//a",
    "/a//b",
    "/../a",
    "/%41",
    "/%zz",
    "/%00",
    "/a#b",
    "*",
    "h:443",
    "http://h/a",
    "http://h",
    "ftp://h/a",
    "v1/x",
    "?a",
    "",
    "/a b",
    "/a\tb",
    "/\u{1}",
    "/\u{7f}",
    "/caf\u{e9}",
    "/\"a\"",
    "/<a>",
    "/{a}",
    "/a|b",
    "/a\\b",
    "/a^b",
    "/a`b",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/2",
    "HTTP/1.10",
    "HTTP/11",
    "http/1.1",
    "HTTP/1,1",
    "HTTP / 1.1",
    "HTTP/1.1 ",
    " HTTP/1.1",
    "HTTPS/1.1",
    "",
];
const BEFORE: &[(&str, &str)] = &[
    ("CRLF", "\r\n"),
    ("CRLF twice", "\r\n\r\n"),
    ("LF", "\n"),
    ("CR", "\r"),
    ("LF CRLF", "\n\r\n"),
    ("CRLF LF", "\r\n\n"),
    ("CR CRLF", "\r\r\n"),
    ("a space", " "),
    ("NUL", "\0"),
];

/// All of them.
pub fn requests() -> Vec<Sample> {
    [start_lines(), headers(), framings(), chunks(), ends(), smuggled()].concat()
}

fn followed(name: String, head: &str, body: &[u8]) -> Sample {
    Sample::new(name, [head.as_bytes(), body, NEXT.as_bytes()].concat())
}

fn start_lines() -> Vec<Sample> {
    let line = |what: &str, value: &str, line: String| {
        followed(
            format!("start line / {what} / {}", shown(value)),
            &format!("{line}\r\nhost: h\r\n\r\n"),
            b"",
        )
    };
    let methods = METHODS.iter().map(|method| line("method", method, format!("{method} /x HTTP/1.1")));
    let targets = TARGETS.iter().map(|target| line("target", target, format!("GET {target} HTTP/1.1")));
    let versions = VERSIONS.iter().map(|version| line("version", version, format!("GET /x {version}")));
    let odd = [
        "GET  /x HTTP/1.1",
        "GET\t/x HTTP/1.1",
        "GET /x  HTTP/1.1",
        "GET /x",
        "GET",
        "nonsense",
        "PRI * HTTP/2.0",
    ];
    let odd = odd.iter().map(|odd| line("whole", odd, (*odd).to_owned()));
    let long = format!("GET /{} HTTP/1.1", "a".repeat(70_000));
    let long = line("target", "70 kB", long);
    let preface = Sample::new("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    methods.chain(targets).chain(versions).chain(odd).chain([long, preface]).collect()
}

fn headers() -> Vec<Sample> {
    let first = HEADER_LINES
        .iter()
        .map(|line| (line, format!("GET /x HTTP/1.1\r\n{line}\r\nhost: h\r\n\r\n"), "first"));
    let last = HEADER_LINES
        .iter()
        .map(|line| (line, format!("GET /x HTTP/1.1\r\nhost: h\r\n{line}\r\n\r\n"), "last"));
    let named = first
        .chain(last)
        .map(|(line, head, place)| followed(format!("header / {place} / {}", shown(line)), &head, b""));
    let many = |count| {
        let head = format!("GET /x HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(count));
        followed(format!("header / count / {count}"), &head, b"")
    };
    named.chain([many(100), many(101)]).collect()
}

/// Every length beside every coding; the body is good as the one and as the other.
fn framings() -> Vec<Sample> {
    let mut all = Vec::new();
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        for (length, coding) in
            LENGTHS.iter().flat_map(|length| CODINGS.iter().map(move |coding| (length, coding)))
        {
            let lines: String = [length, coding]
                .iter()
                .filter(|line| !line.is_empty())
                .map(|line| format!("{line}\r\n"))
                .collect();
            let head = format!("POST /x {version}\r\nhost: h\r\nconnection: keep-alive\r\n{lines}\r\n");
            let name = format!("framing / {version} / {} / {}", shown(length), shown(coding));
            let body: &[u8] = match (length.is_empty(), coding.is_empty()) {
                (true, true) => b"",
                (false, true) => b"hello",
                (_, false) => b"5\r\nhello\r\n0\r\n\r\n",
            };
            all.push(followed(name, &head, body));
        }
    }
    all
}

fn chunks() -> Vec<Sample> {
    let head = "POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let odd = CHUNKS.iter().map(|(name, body)| {
        // What is cut must not go on with the next.
        let next = if name.starts_with("cut") { "" } else { NEXT };
        Sample::new(format!("chunks / {name}"), [head.as_bytes(), body, next.as_bytes()].concat())
    });
    let extended = [16_000, 17_000]
        .map(|bytes| followed(format!("chunks / extensions of {bytes} bytes"), head, &extensions(bytes)));
    odd.chain(extended).collect()
}

fn ends() -> Vec<Sample> {
    let head = "POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n";
    let mut all = Vec::new();
    for (end, bytes) in LINE_ENDS {
        let each = line_ends(head, bytes).into_iter();
        all.extend(
            each.map(|(place, head)| followed(format!("line end / {end} / {place}"), &head, b"hello")),
        );
    }
    all.extend(BEFORE.iter().map(|(name, before)| {
        followed(format!("before the request / {name}"), &format!("{before}{head}"), b"hello")
    }));
    let after = [("CRLF", "\r\n"), ("LF", "\n"), ("CR", "\r")];
    all.extend(after.iter().map(|(name, after)| {
        followed(format!("after the body / {name}"), head, format!("hello{after}").as_bytes())
    }));
    all
}

/// The corpus of the gateway's own test.
fn smuggled() -> Vec<Sample> {
    let framed = smuggling::FRAMINGS.iter().map(|(lines, _)| {
        let head = format!("POST /x HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n");
        Sample::new(format!("smuggling / {}", shown(lines)), head + "0\r\n\r\n" + smuggling::HIDDEN)
    });
    let odd = smuggling::odd_requests().into_iter();
    framed.chain(odd.map(|(name, bytes, _)| Sample::new(format!("smuggling / {name}"), bytes))).collect()
}
