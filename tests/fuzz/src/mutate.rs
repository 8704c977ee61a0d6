//! Changes to an input: of its bytes, of its lines, and of what stands for something in HTTP.

use fastrand::Rng;

/// Inputs do not grow past this.
const MAX_INPUT: usize = 64 * 1024;

/// What stands for something in HTTP/1.1.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"0",
    b"5",
    b"-1",
    b"+5",
    b"0x5",
    b"00000000000000005",
    b"ffffffffffffffff",
    b"fffffffffffffff0",
    b"18446744073709551615",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"1;a=\"b\"\r\nx\r\n",
    b"5 \r\n",
    b"content-length: 5\r\n",
    b"content-length: 0\r\n",
    b"Content-Length:5\r\n",
    b"content-length: 5, 5\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"chunked",
    b", chunked",
    b"connection: close\r\n",
    b"connection: keep-alive\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: h2c\r\n",
    b"x: y\r\n",
    b" folded\r\n",
    b"trailer: x\r\n",
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"CONNECT ",
    b"/",
    b"*",
    b"http://h/",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No\r\n",
    b"HTTP/1.1 304 No\r\n",
    b"HTTP/1.1 101 Up\r\n\r\n",
    b"HTTP/1.0 200\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /next HTTP/1.1\r\nhost: h\r\n\r\n",
];

/// `input` after one to five changes; some are taken from `other`.
pub fn mutated(input: &[u8], other: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..=5) {
        match random.u8(..9) {
            0 => insert(&mut bytes, random.choice(TOKENS).copied().unwrap_or_default(), random),
            1 => replace(&mut bytes, random.choice(TOKENS).copied().unwrap_or_default(), random),
            2 => drop(bytes.drain(range(bytes.len(), 16, random))),
            3 => flip(&mut bytes, random),
            4 => repeat(&mut bytes, random),
            5 => bytes.truncate(random.usize(..=bytes.len())),
            6 => splice(&mut bytes, other, random),
            7 => lines(&mut bytes, random),
            _ => digit(&mut bytes, random),
        }
        bytes.truncate(MAX_INPUT);
    }
    bytes
}

/// A range of at most `most` bytes.
fn range(length: usize, most: usize, random: &mut Rng) -> std::ops::Range<usize> {
    let from = random.usize(..=length);
    from..(from + random.usize(..=most)).min(length)
}

fn insert(bytes: &mut Vec<u8>, token: &[u8], random: &mut Rng) {
    let at = random.usize(..=bytes.len());
    bytes.splice(at..at, token.iter().copied());
}

fn replace(bytes: &mut Vec<u8>, token: &[u8], random: &mut Rng) {
    let range = range(bytes.len(), token.len() + 2, random);
    bytes.splice(range, token.iter().copied());
}

fn flip(bytes: &mut [u8], random: &mut Rng) {
    if let Some(at) = random.choice(0..bytes.len()) {
        bytes[at] = if random.bool() { random.u8(..) } else { bytes[at] ^ (1 << random.u8(..8)) };
    }
}

/// A few bytes again, and sometimes very often: limits are where mistakes are.
fn repeat(bytes: &mut Vec<u8>, random: &mut Rng) {
    let range = range(bytes.len(), 24, random);
    let times = if random.u8(..16) == 0 { random.usize(..5000) } else { random.usize(1..8) };
    let again = bytes[range.clone()].repeat(times);
    bytes.splice(range.end..range.end, again);
}

fn splice(bytes: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    bytes.truncate(random.usize(..=bytes.len()));
    bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
}

/// Swaps two lines, drops one, or has one twice.
fn lines(bytes: &mut Vec<u8>, random: &mut Rng) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (Some(one), Some(other)) = (random.choice(0..lines.len()), random.choice(0..lines.len())) else {
        return;
    };
    match random.u8(..3) {
        0 => lines.swap(one, other),
        1 => drop(lines.remove(one)),
        _ => lines.insert(other, lines[one].clone()),
    }
    *bytes = lines.concat();
}

fn digit(bytes: &mut [u8], random: &mut Rng) {
    let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_hexdigit()).collect();
    if let Some(at) = random.choice(digits) {
        bytes[at] = *random.choice(b"0123456789abcdefABCDEF").unwrap_or(&b'0');
    }
}
