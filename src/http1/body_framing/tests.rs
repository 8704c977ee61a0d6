//! Bodies cut anywhere, and framing that is wrong.

use proptest::prelude::*;

use super::*;

/// Decodes `pieces` one after the other: the body, and what was left behind its end.
fn decoded<'a>(
    mut decoder: Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Vec<u8>, bool), FramingError> {
    let (mut run, mut left) = (BytesMut::new(), Vec::new());
    for mut piece in pieces {
        decoder.decode(&mut piece, &mut run)?;
        left.extend_from_slice(piece);
    }
    Ok((run.to_vec(), left, decoder.is_over()))
}

fn chunked(wire: &[u8]) -> Result<(Vec<u8>, Vec<u8>, bool), FramingError> {
    decoded(Decoder::chunked(), [wire])
}

#[test]
fn many_chunks_of_one_read_come_out_as_one_run() {
    let (run, left, over) = chunked(b"3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n").unwrap();
    assert_eq!((run.as_slice(), left.as_slice(), over), (&b"abc0123456789"[..], &b""[..], true));
}

#[test]
fn trailers_are_left_out_and_what_follows_is_not_touched() {
    let (run, left, over) = chunked(b"1 \r\na\r\n0\r\nx-sum: 1\r\ny: 2\r\n\r\nHTTP/1.1").unwrap();
    assert_eq!((run.as_slice(), left.as_slice(), over), (&b"a"[..], &b"HTTP/1.1"[..], true));
}

#[test]
fn a_length_is_kept_to_the_byte() {
    let (run, left, over) = decoded(Decoder::Length(5), [&b"abc"[..], b"", b"defg"]).unwrap();
    assert_eq!((run.as_slice(), left.as_slice(), over), (&b"abcde"[..], &b"fg"[..], true));
    assert!(Decoder::Length(0).is_over());
    let (_, _, over) = decoded(Decoder::ToClose, [&b"abc"[..]]).unwrap();
    assert!(!over, "only the connection ends it");
}

#[test]
fn what_is_malformed_is_an_error_and_never_an_end() {
    let long = [b"1;".as_slice(), &[b'x'; MAX_EXTENSION_BYTES + 1]].concat();
    let trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(MAX_EXTENSION_BYTES / 4 + 1)].concat();
    let zeros = [b'0'; 300];
    let many = [&b"1;x\r\na\r\n".repeat(MAX_EXTENSION_BYTES + 1)[..], b"0\r\n\r\n"].concat();
    let wrong: [&[u8]; 20] = [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b";a\r\n",
        b"1\n",
        b"1\ra",
        b"1;a\n",
        b"1\r\nab",
        b"1\r\na\n",
        b"1\r\na\rb",
        b"0\r\n\ra",
        b"0\r\n\n",
        b"0\r\na: b\n\r\n",
        b"1 x\r\na",
        b"1\t1\r\na",
        b"1 \na",
        &many,
        &long,
        &trailers,
        &zeros,
    ];
    for wire in wrong {
        assert!(chunked(wire).is_err(), "{:?}", String::from_utf8_lossy(&wire[..wire.len().min(20)]));
    }
    assert!(chunked(b"1 \t;x\r\na\r\n0\t\r\n\r\n").is_ok(), "blanks after a size");
    let most = [&b"1;x\r\na\r\n".repeat(MAX_EXTENSION_BYTES)[..], b"0\r\na: b\r\n\r\n"].concat();
    assert!(chunked(&most).unwrap().2, "all extensions together are counted apart from the trailers");
    assert!(chunked(b"ffffffffffffffff\r\na").is_ok(), "large, but a number");
    assert!(chunked(b"10000000000000000\r\n").is_err(), "larger than any number");
}

#[test]
fn what_came_before_the_mistake_is_kept() {
    let (mut decoder, mut run) = (Decoder::chunked(), BytesMut::new());
    assert!(decoder.decode(&mut &b"3\r\nabc\r\nzz"[..], &mut run).is_err());
    assert_eq!(run, "abc");
}

proptest! {
    #[test]
    fn a_body_is_the_same_wherever_it_is_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        size in 1usize..20,
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\n");
        let (run, left, over) = decoded(Decoder::chunked(), wire.chunks(size)).unwrap();
        prop_assert_eq!((run, left, over), (chunks.concat(), Vec::new(), true));
        let (_, _, over) = decoded(Decoder::chunked(), [&wire[..wire.len() - 1]]).unwrap();
        prop_assert!(!over, "one byte is missing");
    }
}
