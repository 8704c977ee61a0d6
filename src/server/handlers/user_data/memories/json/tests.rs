//! What is taken, what is refused, and what is shown.

use serde_json::{Value, json};

use super::*;
use crate::{memory::types::SearchHit, refusal::RequestError};

fn refused(result: Result<impl std::fmt::Debug, Refusal>) -> (&'static str, String) {
    match result {
        Err(Refusal::Request(RequestError::Invalid(bad))) => (bad.code, bad.param.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

fn add(body: &Value) -> Result<(Vec<NewItem>, bool), Refusal> {
    items(body.to_string().as_bytes())
}

fn memory() -> MemoryRecord {
    MemoryRecord {
        id: "ID".into(),
        seq: 1,
        session: None,
        role: "user".into(),
        speaker: Some("Ann".into()),
        text: "a\nb\0\u{202e}🦀".into(),
        created_at: UnixMillis(1_683_554_160_120),
        metadata: None,
        tokens: 3,
        embedding: None,
    }
}

#[test]
fn one_or_many_are_read_with_their_defaults() {
    let (one, many) = add(&json!({ "text": "hi", "session": null, "user": "mallory" })).unwrap();
    assert_eq!(one, [NewItem { text: "hi".into(), role: "user".into(), ..NewItem::default() }]);
    assert!(!many);
    let (two, many) =
        add(&json!({ "memories": [{ "text": "a" }, { "text": "b", "role": "assistant" }] })).unwrap();
    assert!(many && two.len() == 2 && two[1].role == "assistant");
}

#[test]
fn metadata_keeps_every_digit_and_its_order() {
    let body = r#"{"text": "x", "metadata": {"z": 1.50, "a": 12345678901234567890123}}"#;
    let (items, _) = items(body.as_bytes()).unwrap();
    assert_eq!(items[0].metadata.as_deref(), Some(r#"{"z": 1.50, "a": 12345678901234567890123}"#));
}

#[test]
fn what_is_wrong_is_named_by_its_place() {
    let long = "x".repeat(MAX_TEXT + 1);
    let big = json!({ "k": "x".repeat(MAX_METADATA) });
    for (field, value, code) in [
        ("text", json!(null), "missing_field"),
        ("text", json!(" \n"), "invalid_type"),
        ("text", json!(7), "invalid_type"),
        ("text", json!(long), "invalid_type"),
        ("role", json!("tool"), "invalid_type"),
        ("session", json!(""), "invalid_type"),
        ("session", json!("x".repeat(257)), "invalid_type"),
        ("speaker", json!(["Ann"]), "invalid_type"),
        ("created_at", json!("yesterday"), "invalid_type"),
        ("created_at", json!(0), "invalid_type"),
        ("created_at", json!("0000-01-01T00:00:00+01:00"), "invalid_type"),
        ("metadata", json!([]), "invalid_type"),
        ("metadata", big, "invalid_type"),
    ] {
        let mut item = json!({ "text": "fine" });
        item[field] = value;
        assert_eq!(refused(add(&item)), (code, field.to_owned()));
        let list = json!({ "memories": [{ "text": "fine" }, item] });
        assert_eq!(refused(add(&list)), (code, format!("memories[1].{field}")));
    }
}

#[test]
fn bodies_that_are_no_items_are_refused() {
    for (body, code) in
        [("", "invalid_json"), ("{", "invalid_json"), ("[]", "invalid_type"), ("1", "invalid_type")]
    {
        assert_eq!(refused(items(body.as_bytes())), (code, String::new()), "{body}");
    }
    assert_eq!(refused(add(&json!({ "memories": [] }))).1, "memories");
    assert_eq!(refused(add(&json!({ "memories": {} }))).1, "memories");
    assert_eq!(refused(add(&json!({ "memories": [1] }))).1, "memories[0]");
    let many = |n| add(&json!({ "memories": vec![json!({ "text": "x" }); n] }));
    assert!(many(1000).is_ok() && many(1001).is_err());
    assert!(add(&json!({ "text": "x".repeat(MAX_TEXT) })).is_ok());
    assert_eq!(refused(items(br#"{"text": "\ud800"}"#)).1, "text", "half a character");
}

#[test]
fn times_have_any_offset_and_are_shown_in_utc() {
    let same = ["2023-05-08T13:56:00.12Z", "2023-05-08T15:56:00.12+02:00", "2023-05-08t13:56:00.120z"];
    for text in same {
        assert_eq!(instant(text), Some(UnixMillis(1_683_554_160_120)), "{text}");
    }
    assert_eq!(date(UnixMillis(1_683_554_160_120)).as_deref(), Some("2023-05-08T13:56:00.12Z"));
    assert_eq!(instant("1969-12-31T23:59:59.999Z"), Some(UnixMillis(-1)));
    for bad in ["", "2023-05-08", "2023-05-08T13:56:00", "2023-13-01T00:00:00Z", "1683554160"] {
        assert_eq!(instant(bad), None, "{bad}");
    }
    assert_eq!(date(UnixMillis(i64::MAX)), None);
}

#[test]
fn a_search_needs_words_and_takes_bounds() {
    let read = |body: Value| search(body.to_string().as_bytes());
    let found = read(json!({ "query": "q" }));
    assert_eq!(found, Ok(SearchRequest { query: "q".into(), limit: 10, max_tokens: None }));
    let found = read(json!({ "query": "q", "limit": 1000, "max_tokens": 5 }));
    assert_eq!(found, Ok(SearchRequest { query: "q".into(), limit: 200, max_tokens: Some(5) }));
    assert_eq!(refused(read(json!({}))), ("missing_field", "query".into()));
    for (name, value) in
        [("limit", json!(0)), ("limit", json!("3")), ("limit", json!(1.5)), ("max_tokens", json!(-1))]
    {
        let mut body = json!({ "query": "q" });
        body[name] = value;
        assert_eq!(refused(read(body)), ("invalid_type", name.into()));
    }
}

#[test]
fn a_memory_is_shown_in_the_promised_shape() {
    let shown = serde_json::to_value(MemoryJson::from(&memory())).unwrap();
    let expected = json!({
        "object": "memory", "id": "ID", "text": "a\nb\0\u{202e}🦀", "role": "user", "session": null,
        "speaker": "Ann", "created_at": "2023-05-08T13:56:00.12Z", "metadata": {},
    });
    assert_eq!(shown, expected);
    let list =
        serde_json::to_value(ListJson::page(&[MemoryJson::from(&memory())], Cursor::parse("5.7"))).unwrap();
    assert_eq!(list, json!({ "object": "list", "data": [expected], "has_more": true, "next_cursor": "5.7" }));
}

#[test]
fn a_line_stays_one_line() {
    let odd = MemoryRecord { metadata: Some("{\n  \"a\": \"b\\n\"\r\n}".into()), ..memory() };
    let text = String::from_utf8(lines(&[odd, memory()]).unwrap()).unwrap();
    let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0]["metadata"], json!({ "a": "b\n" }));
    assert_eq!(read[1]["text"], "a\nb\0\u{202e}🦀");
}

#[test]
fn a_search_says_how_well_each_fits_and_whether_it_was_known() {
    let hits = vec![SearchHit { memory: memory(), score: 0.5 }];
    for (cached, word) in [(true, "hit"), (false, "miss")] {
        let list = found(&SearchResult { hits: hits.clone(), cached, unembedded: None }).unwrap();
        assert_eq!(list.status(), 200);
        assert_eq!(list.headers()["cache-control"], "no-store");
        let shown = MemoryJson { score: Some(0.5), ..MemoryJson::from(&hits[0].memory) };
        let body = ListJson { cache: Some(word), ..ListJson::whole(std::slice::from_ref(&shown)) };
        let body = serde_json::to_value(body).unwrap();
        assert_eq!((&body["cache"], &body["data"][0]["score"]), (&json!(word), &json!(0.5)));
    }
}
