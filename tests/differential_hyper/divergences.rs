//! Where our codec and hyper differ, and why that is right.

/// Messages that the two read differently.
pub struct Divergence {
    /// Of each of these lists, one stands in the name of such a message.
    pub names: &'static [&'static [&'static str]],
    /// Why it stays so.
    pub reason: &'static str,
}

impl Divergence {
    /// Whether the message of this name is meant.
    pub fn is_about(&self, name: &str) -> bool {
        let name = format!("/ {name} /");
        self.names.iter().all(|any| any.iter().any(|part| name.contains(part)))
    }
}

/// What no reader takes for a length.
const INVALID_LENGTHS: &[&str] = &[
    "/ content-length: 5, 6 /",
    "/ content-length: 5\\r\\ncontent-length: 6 /",
    "/ content-length: +5 /",
    "/ content-length: -5 /",
    "/ content-length: 0x5 /",
    "/ content-length: 5 5 /",
    "/ content-length: five /",
    "/ content-length: /",
    "/ content-length: ,5 /",
    "/ content-length: 18446744073709551616 /",
];

/// In requests.
pub const REQUESTS: &[Divergence] = &[
    Divergence {
        names: &[&["/ HTTP/2 preface /"]],
        reason: "the listener hands such a connection to the HTTP/2 server",
    },
    Divergence {
        names: &[&[
            "/ line end / LF /",
            "/ line end / LF CR / for the empty line /",
            "/ before the request / LF",
            "/ before the request / CRLF LF /",
            "/ after the body / LF /",
            "/ a head of line feeds /",
            "/ a line feed behind the request line /",
            "/ a line feed in a header /",
            "/ a line feed for the empty line /",
            "/ an empty line of a line feed /",
        ]],
        reason: "a bare LF ends a line for some and not for others (RFC 9112, 2.2), so it is refused",
    },
    Divergence {
        names: &[&[
            "/ chunks / LF at the end /",
            "/ chunks / LF after a trailer /",
            "/ chunks / LF after the trailers /",
            "/ chunks / LF before a trailer /",
            "/ a line feed in front of the trailers /",
            "/ a line feed in a trailer /",
        ]],
        reason: "the same in trailers, which decide where the next request begins",
    },
    Divergence {
        names: &[&[
            "/ chunks / a trailer without a colon /",
            "/ chunks / a trailer without a name /",
            "/ chunks / a folded trailer /",
            "/ chunks / NUL in a trailer /",
        ]],
        reason: "trailers are dropped unread; that an empty line ends them is beyond doubt",
    },
    Divergence {
        names: &[
            &["/ framing / HTTP/1.1 /"],
            &[
                "/ content-length: 5 /",
                "/ Content-Length:5 /",
                "/ content-length: 05 /",
                "/ content-length: 5  /",
                "/ content-length: 0 /",
                "/ content-length: 5\\r\\ncontent-length: 5 /",
            ],
            &[
                "/ transfer-encoding: chunked /",
                "/ Transfer-Encoding:CHUNKED /",
                "/ transfer-encoding: gzip, chunked /",
                "/ transfer-encoding: chunked, chunked /",
                "/ transfer-encoding: , chunked /",
                "/ transfer-encoding: gzip\\r\\ntransfer-encoding: chunked /",
                "/ transfer-encoding: chunked\\r\\ntransfer-encoding: chunked /",
            ],
        ],
        reason: "both lengths at once are how requests are smuggled (RFC 9112, 6.3), so they are refused",
    },
    Divergence {
        names: &[&[
            "/ smuggling / content-length: 5\\r\\ntransfer-encoding: chunked /",
            "/ smuggling / transfer-encoding: chunked\\r\\ncontent-length: 0 /",
            "/ smuggling / transfer-encoding: chunked\\r\\ncontent-length: 5 /",
        ]],
        reason: "the same",
    },
    Divergence {
        names: &[
            &["/ HTTP/1.1 / none /", "/ smuggling /"],
            &[
                "/ transfer-encoding: gzip, chunked /",
                "/ transfer-encoding: chunked, chunked /",
                "/ transfer-encoding: , chunked /",
                "/ transfer-encoding: gzip\\r\\ntransfer-encoding: chunked /",
                "/ transfer-encoding: identity\\r\\ntransfer-encoding: chunked /",
                "/ transfer-encoding: chunked\\r\\ntransfer-encoding: chunked /",
            ],
        ],
        reason: "we decode no coding but chunked, and a proxy may have applied another of them",
    },
];

/// In responses.
pub const RESPONSES: &[Divergence] = &[
    Divergence {
        names: &[&["/ interim / 101 /", "/ interim / 101 with upgrade /"]],
        reason: "we never ask for another protocol",
    },
    Divergence {
        names: &[&["/ interim / 17 times /"]],
        reason: "a provider must not keep a request waiting with heads that say nothing: 16 are read",
    },
    Divergence {
        names: &[&["/ header / count / 101 /", "/ header / count / 200 /"]],
        reason: "some providers send many headers: 200 are read, hyper reads 100",
    },
    Divergence {
        names: &[&["/ header / 20 kB /"]],
        reason: "a head of a provider has at most 16 KiB; hyper reads up to 400",
    },
    Divergence {
        names: &[&["/ chunks / LF before a trailer /"]],
        reason: "no bare LF ends a line of what frames a body",
    },
    Divergence {
        names: &[&[
            "/ chunks / a trailer without a colon /",
            "/ chunks / a trailer without a name /",
            "/ chunks / a folded trailer /",
            "/ chunks / NUL in a trailer /",
        ]],
        reason: "trailers are dropped unread; that an empty line ends them is beyond doubt",
    },
    Divergence {
        names: &[
            &["/ GET HTTP/1.1 200 /"],
            INVALID_LENGTHS,
            &["/ transfer-encoding:", "/ Transfer-Encoding:"],
        ],
        reason: "a response that contradicts itself is not trusted, also where transfer-encoding would win",
    },
    Divergence {
        names: &[&["/ GET HTTP/1.1 204 /", "/ GET HTTP/1.1 304 /", "/ HEAD HTTP/1.1 200 /"], INVALID_LENGTHS],
        reason: "the same where there is no body whose length it could be",
    },
];
