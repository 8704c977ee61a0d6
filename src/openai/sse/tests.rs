//! The framer against a naive reader of whole streams, at every cut, and its costs.

use proptest::prelude::*;

use super::*;

/// An event as the standard sees it: name and data, of those that have data.
type Seen = (Option<Vec<u8>>, Vec<u8>);

/// Reads a whole stream the slow way. The event at the end without a blank line counts, as with `finish`.
fn reference(stream: &[u8]) -> Vec<Seen> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut unified = Vec::new();
    for (at, byte) in stream.iter().enumerate() {
        match byte {
            b'\r' => unified.push(b'\n'),
            b'\n' if at > 0 && stream[at - 1] == b'\r' => {}
            other => unified.push(*other),
        }
    }
    let (mut seen, mut name, mut data) = (Vec::new(), None, None::<Vec<u8>>);
    let lines = unified.split(|byte| *byte == b'\n').chain([&b""[..]]);
    for line in lines {
        if line.is_empty() {
            seen.extend(data.take().map(|data| (name.take(), data)));
            name = None;
            continue;
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let field = halves.next().unwrap();
        let value = halves.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        match (field, &mut data) {
            (b"event", _) => name = Some(value),
            (b"data", None) => data = Some(value),
            (b"data", Some(data)) => data.extend([&b"\n"[..], &value].concat()),
            _ => {}
        }
    }
    seen
}

/// Frames `pieces`, drained after each; returns the events and all their bytes.
fn frame<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, Vec<u8>) {
    let mut framer = Framer::new(MAX_EVENT);
    let (mut seen, mut raw) = (Vec::new(), Vec::new());
    let mut note = |event: &SseEvent| {
        let fields = event.fields();
        raw.extend_from_slice(event.bytes());
        seen.extend(fields.data.map(|data| (fields.name.map(<[u8]>::to_vec), data.into_owned())));
    };
    for piece in pieces {
        framer.push(Bytes::copy_from_slice(piece));
        while let Some(event) = framer.next_event().unwrap() {
            note(&event);
        }
    }
    framer.finish().iter().for_each(&mut note);
    assert_eq!(residue(&framer), 0);
    (seen, raw)
}

/// Bytes of an unfinished event, also of chunks that have not been looked at.
fn residue(framer: &Framer) -> usize {
    framer.held.len() + framer.chunk.len() - framer.start + framer.queue.iter().map(Bytes::len).sum::<usize>()
}

fn two(stream: &[u8], at: usize) -> [&[u8]; 2] {
    let (left, right) = stream.split_at(at);
    [left, right]
}

#[test]
fn every_line_ending_at_every_cut() {
    let streams: [&[u8]; 10] = [
        b"data: a\n\ndata: b\n\n",
        b"data: a\r\n\r\ndata: b\r\n\r\n",
        b"data: a\r\rdata: b\r\r",
        b"data: a\r\n\rdata: b\n\r\n",
        b"data: a\n\r\ndata: b\r\n\n",
        b"\xef\xbb\xbfdata: a\n\n\n\n\n: c\n\ndata:b\n\n",
        b"\xef\xbb\xbf\r\ndata: a\r\ndata: \r\ndata\r\ndata: b\r\n\r\n",
        b"id: 1\r\nretry: 10\revent: x\ndata: a\r\r\n\r\n",
        "data: \u{1f600}\u{4f60}\u{597d}e\u{301}\n\n".as_bytes(),
        b"data: a\r\n\r\ndata: [DONE]",
    ];
    for stream in streams {
        let expected = reference(stream);
        for cut in 0..=stream.len() {
            assert_eq!(frame(two(stream, cut)).0, expected, "{} cut at {cut}", stream.escape_ascii());
        }
        assert_eq!(frame(stream.chunks(1)).0, expected, "{}", stream.escape_ascii());
    }
}

#[test]
fn the_bytes_of_all_events_are_the_stream() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = format!(": c{end}{end}data: a{end}data: b{end}{end}event: x{end}data: c{end}{end}");
        for cut in 0..=stream.len() {
            assert_eq!(frame(two(stream.as_bytes(), cut)).1, stream.as_bytes(), "cut at {cut}");
        }
        assert_eq!(frame(stream.as_bytes().chunks(1)).1, stream.as_bytes());
    }
}

#[test]
fn an_event_comes_with_its_first_half_of_a_line_end() {
    let mut framer = Framer::new(MAX_EVENT);
    framer.push(Bytes::from_static(b"data: a\r\n\r"));
    assert_eq!(framer.next_event().unwrap().unwrap().bytes(), b"data: a\r\n\r\n");
    framer.push(Bytes::from_static(b"\n"));
    assert!(framer.next_event().unwrap().is_none(), "the other half is not an event");
    assert_eq!(residue(&framer), 0);
    framer.push(Bytes::from_static(b"\n"));
    assert!(framer.next_event().unwrap().is_some(), "a second line end is a blank line of its own");
}

#[test]
fn an_event_inside_one_chunk_is_a_slice_and_runs_are_joined() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n: x\n\ndata: c\n\ndata: d");
    let mut framer = Framer::new(MAX_EVENT);
    framer.push(chunk.clone());
    let mut run = Run::default();
    let mut sent = Vec::new();
    while let Some(event) = framer.next_event().unwrap() {
        if event.fields().data.is_some() {
            sent.extend(run.add(event));
        }
    }
    framer.push(Bytes::from_static(b"\n\n"));
    sent.extend(run.add(framer.next_event().unwrap().unwrap()));
    sent.extend(run.take());
    assert_eq!(sent, [&b"data: a\n\ndata: b\n\n"[..], b"data: c\n\n", b"data: d\n\n"]);
    assert_eq!(sent[0].as_ptr(), chunk.as_ptr());
    assert_eq!(sent[1].as_ptr(), chunk[23..].as_ptr());
    assert_eq!(run.take(), None);
}

#[test]
fn the_end_of_the_stream_completes_an_event() {
    for (stream, raw) in [
        (&b"data: a"[..], &b"data: a\n\n"[..]),
        (b"data: a\n", b"data: a\n\n"),
        (b"data: a\r\n", b"data: a\r\n\n"),
        (b"data: a\r", b"data: a\r\n\n"),
        (b"\xef\xbb\xbfdata: a", b"data: a\n\n"),
    ] {
        assert_eq!(frame([stream]), (vec![(None, b"a".to_vec())], raw.to_vec()), "{}", stream.escape_ascii());
    }
    assert!(Framer::new(1).finish().is_none());
}

#[test]
fn an_event_may_be_as_large_as_the_limit_and_no_larger() {
    let event = Bytes::from([b"data: ", &b"x".repeat(90)[..], b"\n\n"].concat());
    for size in [1, 7, 98] {
        let run = |limit| {
            let mut framer = Framer::new(limit);
            event.chunks(size).for_each(|piece| framer.push(event.slice_ref(piece)));
            framer.next_event().map(|event| event.is_some())
        };
        assert_eq!(run(98), Ok(true));
        assert_eq!(run(97), Err(EventTooLarge { limit: 97 }), "in pieces of {size}");
    }
}

#[test]
fn an_endless_line_is_refused_again_and_again_and_not_kept() {
    let mut framer = Framer::new(1000);
    for _ in 0..100 {
        framer.push(Bytes::from(vec![b'x'; 100]));
        let _ = framer.next_event();
    }
    assert_eq!(framer.next_event().unwrap_err(), EventTooLarge { limit: 1000 });
    framer.push(Bytes::from_static(b"\n\ndata: a\n\n"));
    assert!(framer.next_event().is_err());
    assert_eq!(residue(&framer), 0);
}

/// A quadratic framer would need hours for this.
#[test]
fn a_long_line_byte_by_byte_is_linear() {
    let line = Bytes::from([b"data: ", &b"x".repeat(2 << 20)[..], b"\r\n\r\n"].concat());
    let mut framer = Framer::new(MAX_EVENT);
    let mut events = 0;
    for at in 0..line.len() {
        framer.push(line.slice(at..=at));
        events += usize::from(framer.next_event().unwrap().is_some());
    }
    assert_eq!(events, 1);
}

#[test]
fn pushing_everything_before_reading_is_linear_too() {
    let event = Bytes::from_static(b"data: x\n\n");
    let mut framer = Framer::new(MAX_EVENT);
    (0..200_000).for_each(|_| framer.push(event.clone()));
    assert_eq!(residue(&framer), 200_000 * event.len());
    let mut events = 0;
    while framer.next_event().unwrap().is_some() {
        events += 1;
    }
    assert_eq!(events, 200_000);
}

/// Streams made of the pieces that matter, so that line ends meet in every way.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"\n"[..],
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"data:",
        b"data: ",
        b"data",
        b"event: x",
        b"id: 1",
        b": c",
        b":",
        b" ",
        b"{\"a\":1}",
        b"[DONE]",
        b"x",
        "\u{1f600}".as_bytes(),
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn agrees_with_the_slow_reader_however_it_is_cut(stream in stream(), cuts in prop::collection::vec(1..9_usize, 1..60)) {
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let (seen, raw) = frame(pieces);
        prop_assert_eq!(&seen, &reference(&stream));
        prop_assert_eq!(seen, reference(&raw), "what is passed on means the same");
    }
}
