//! Lines of heads, good and bad, as requests and responses share them.

/// Header lines.
pub const HEADER_LINES: &[&str] = &[
    "x: y",
    "X-Mixed-Case: Y",
    "x:y",
    "x:",
    "x: ",
    "x:  \t y \t ",
    "x: a b",
    "x: a, b",
    "x: \"quoted\"",
    "x: caf\u{e9}",
    "x: \u{fc}\u{20ac}",
    "x: a\tb",
    "x: \u{1}",
    "x: a\u{0}b",
    "x: \u{7f}",
    "x: a\u{b}b",
    "x: a\rb",
    "x : y",
    "x\t: y",
    " x: y",
    "x: y\r\n folded",
    "x: y\r\n\tfolded",
    "x: y\r\n \r\nz: w",
    "x y: z",
    "x(y): z",
    "x/y: z",
    "x\u{0}y: z",
    "\u{e9}: z",
    "x\"y: z",
    "x@y: z",
    "!#$%&'*+-.^_`|~09az: z",
    ": z",
    "::",
    "no colon",
    ":",
    "\"x\": y",
    "x: y\r\nx: z",
    "X: y\r\nx: z",
    "connection: close",
    "connection: keep-alive",
    "connection: content-length",
    "host: a\r\nhost: b",
    "upgrade: h2c",
    "te: trailers",
    "trailer: x",
    "keep-alive: timeout=5",
    "expect: 200-ok",
];

/// The lines of `content-length`, also several.
pub const LENGTHS: &[&str] = &[
    "",
    "content-length: 5",
    "Content-Length:5",
    "content-length: 05",
    "content-length: 5 ",
    "content-length: 0",
    "content-length: 5, 5",
    "content-length: 5, 6",
    "content-length: 5\r\ncontent-length: 5",
    "content-length: 5\r\ncontent-length: 6",
    "content-length: +5",
    "content-length: -5",
    "content-length: 0x5",
    "content-length: 5 5",
    "content-length: five",
    "content-length:",
    "content-length: ,5",
    "content-length: 18446744073709551616",
];

/// The lines of `transfer-encoding`, also several.
pub const CODINGS: &[&str] = &[
    "",
    "transfer-encoding: chunked",
    "Transfer-Encoding:CHUNKED",
    "transfer-encoding: gzip",
    "transfer-encoding: identity",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, gzip",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding:",
    "transfer-encoding: , chunked",
    "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: gzip",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
];

/// What ends a line, or should not.
pub const LINE_ENDS: &[(&str, &str)] =
    &[("LF", "\n"), ("CR", "\r"), ("CR CR LF", "\r\r\n"), ("LF CR", "\n\r"), ("VT LF", "\u{b}\n")];

/// `head`, lines with CRLF behind each, with `end` behind one line or all.
pub fn line_ends(head: &str, end: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = head.split_inclusive("\r\n").collect();
    let exchanged = |which: Option<usize>| -> String {
        let each = lines.iter().enumerate();
        each.map(|(n, line)| {
            if which.is_none_or(|which| which == n) { line.replace("\r\n", end) } else { (*line).to_owned() }
        })
        .collect()
    };
    let places = ["after the first line", "after a header", "after the last header", "for the empty line"];
    let mut all: Vec<_> =
        places.iter().enumerate().map(|(n, place)| ((*place).to_owned(), exchanged(Some(n)))).collect();
    all.push(("everywhere".to_owned(), exchanged(None)));
    all
}

/// A line for a name: what cannot be printed is escaped.
pub fn shown(line: &str) -> String {
    if line.is_empty() { "none".to_owned() } else { line.escape_default().to_string() }
}
