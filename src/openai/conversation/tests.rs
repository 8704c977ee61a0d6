use super::*;

fn with<T>(body: &str, then: impl FnOnce(&Bytes, &Conversation<'_>) -> T) -> T {
    let body = Bytes::from(body.to_owned());
    let peek = request_peek::peek(&body).unwrap();
    then(&body, &Conversation::read(&body, &peek).unwrap())
}

fn last(body: &str) -> Option<String> {
    with(body, |_, conversation| conversation.last_user().map(|said| said.text.to_string()))
}

#[test]
fn the_last_words_of_the_user_are_found_in_every_shape() {
    let chat = |messages: &str| format!(r#"{{"model":"m","messages":[{messages}]}}"#);
    let cases = [
        (chat(r#"{"role":"system","content":"s"},{"role":"user","content":"hi"}"#), Some("hi")),
        (chat(r#"{"role":"user","content":"a"},{"role":"assistant","content":"b"}"#), None),
        (
            chat(
                r#"{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"t"}"#,
            ),
            Some("a"),
        ),
        (
            chat(
                r#"{"role":"user","content":[{"type":"text","text":"what"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"is it"}]}"#,
            ),
            Some("what\nis it"),
        ),
        (chat(r#"{"role":"user","content":[{"type":"image_url"}]}"#), None),
        (r#"{"model":"m","input":"plain \u0041"}"#.to_owned(), Some("plain A")),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"q"}]}]}"#
                .to_owned(),
            Some("q"),
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(last(&body).as_deref(), expected, "{body}");
    }
}

#[test]
fn a_conversation_is_told_apart_wherever_blanks_and_strangers_stand() {
    let strange = r#"{"model":"m","messages":[ 1e999 ,"text",null,[{"role":"user","content":"no"}],
            {"\ud800":1,"role":"\u0075ser","content":"\ud800"}, {"role":"user","role":"assistant","content":"a, ]}"},{},
            {"content":[{"type":"text","text":"last"}],"role":"user"}	] }"#;
    with(strange, |body, conversation| {
        let said: Vec<_> =
            conversation.said.iter().map(|said| (&*said.role, &*said.text, &body[said.at.clone()])).collect();
        assert_eq!(said.len(), 8);
        assert_eq!((said[0].2, said[1].2, said[2].2), (&b"1e999"[..], &b"\"text\""[..], &b"null"[..]));
        assert!(said[..4].iter().all(|(role, text, _)| role.is_empty() && text.is_empty()));
        assert_eq!((said[4].0, said[4].1), ("user", ""));
        assert_eq!((said[5].0, said[5].1), ("assistant", "a, ]}"));
        assert_eq!((said[7].0, said[7].1), ("user", "last"));
        assert!(said[4].2.starts_with(b"{\"\\ud800") && said[7].2.ends_with(b"\"user\"}"));
    });
    with(r#"{"model":"m","messages":[]}"#, |_, conversation| assert_eq!(conversation.said, []));
}

#[test]
fn a_note_goes_directly_before_the_last_words_and_changes_nothing_before_them() {
    let body = r#"{"model":"m", "messages" : [ {"role":"system","content":"s"} , {"role":"user","content":"hi"} ], "stream_options": {"include_usage": true}, "x":1e400}"#;
    with(body, |bytes, conversation| {
        let place = conversation.before(conversation.last_user().unwrap());
        let (mut noted, mut peek) = (bytes.clone(), request_peek::peek(bytes).unwrap());
        place.put(&mut noted, &mut peek, "a \"note\"").unwrap();
        assert_eq!(peek, request_peek::peek(&noted).unwrap(), "every offset has moved with it");
        let noted = String::from_utf8(noted.to_vec()).unwrap();
        let at = body.find(r#"{"role":"user""#).unwrap();
        assert_eq!(&noted[..at], &body[..at]);
        assert_eq!(&noted[at..], format!("{}{}", r#"{"content":"a \"note\"","role":"user"},"#, &body[at..]));
    });
}

#[test]
fn what_is_no_list_of_messages_is_no_conversation() {
    for input in [r#"{"a":{"role":"user","content":"hi"}}"#, "7", "null", r#""\ud800""#] {
        let body = format!(r#"{{"model":"m","input":{input}}}"#);
        assert_eq!(Conversation::read(body.as_bytes(), &request_peek::peek(body.as_bytes()).unwrap()), None);
    }
}

#[test]
fn a_plain_input_becomes_a_list() {
    with(r#"{"input":"hi","model":"m"}"#, |bytes, conversation| {
        let place = conversation.before(conversation.last_user().unwrap());
        let (mut noted, mut peek) = (bytes.clone(), request_peek::peek(bytes).unwrap());
        place.put(&mut noted, &mut peek, "n").unwrap();
        assert_eq!(peek, request_peek::peek(&noted).unwrap());
        let value: serde_json::Value = serde_json::from_slice(&noted).unwrap();
        let expected = serde_json::json!([{"role":"user","content":"n"},{"role":"user","content":"hi"}]);
        assert_eq!(value["input"], expected);
    });
}
