//! Reads server-sent events as the SDKs do, from bytes that arrive in any pieces.
//!
//! Deliberately simple and independent of the gateway's own reader: two readers that agree prove more.

/// One event, or one comment block.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Event {
    /// The `event:` field, if any.
    pub name: Option<String>,
    /// The `data:` lines joined by `\n`; `None` if there was none.
    pub data: Option<String>,
    /// Comment lines, without the colon.
    pub comments: Vec<String>,
}

impl Event {
    /// The data as JSON; `None` if it is invalid.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(self.data.as_deref()?).ok()
    }
}

/// All complete events of `bytes`, and the number of bytes left over at the end.
pub fn parse(bytes: &[u8]) -> (Vec<Event>, usize) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut events = Vec::new();
    let mut current = Event::default();
    let mut used = 0;
    let mut at = 0;
    while let Some((line, next)) = line(bytes, at) {
        at = next;
        if !line.is_empty() {
            field(&mut current, std::str::from_utf8(line).expect("events are UTF-8"));
            continue;
        }
        used = at;
        let event = std::mem::take(&mut current);
        if event != Event::default() {
            events.push(event);
        }
    }
    (events, bytes.len() - used)
}

/// The line at `at` and where the next one starts. A lone CR at the very end waits for its LF.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'))?;
    let crlf = rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n');
    Some((&rest[..end], at + end + if crlf { 2 } else { 1 }))
}

fn field(event: &mut Event, line: &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match name {
        "" => event.comments.push(value.to_owned()),
        "event" => event.name = Some(value.to_owned()),
        "data" => match &mut event.data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            none => *none = Some(value.to_owned()),
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_standard_says() {
        let (events, rest) = parse(b": hi\n\nevent: x\r\ndata:a\ndata: b\r\r\n\ndata: cut");
        assert_eq!(rest, 9);
        assert_eq!(events[0].comments, ["hi"]);
        assert_eq!(events[1], Event { name: Some("x".into()), data: Some("a\nb".into()), comments: vec![] });
        assert_eq!(events.len(), 2);
    }
}
