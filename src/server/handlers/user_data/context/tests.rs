use super::*;
use crate::refusal::RequestError;

fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
    let values = values.iter().map(|value| (name.clone(), HeaderValue::from_static(value)));
    values.collect()
}

#[test]
fn if_match_is_a_star_or_a_list() {
    let tags = |values: &[&'static str]| if_match(&headers(header::IF_MATCH, values));
    assert_eq!(tags(&[]), Ok(Condition::Always));
    assert_eq!(tags(&["*"]), Ok(Condition::Always));
    let two = Ok(Condition::OneOf(vec!["\"a\"".to_owned(), "W/\"b\"".to_owned()]));
    assert_eq!(tags(&["\"a\" , W/\"b\""]), two);
    assert_eq!(tags(&["\"a\"", "W/\"b\""]), two);
    for bad in ["", "a", "\"a", "\"", "*, \"a\"", "\"a\" \"b\"", "w/\"a\""] {
        assert!(tags(&[bad]).is_err(), "{bad:?}: a condition that is not understood is not met");
    }
}

#[test]
fn if_none_match_is_read_likewise_and_not_beside_if_match() {
    let tags = |values: &[&'static str]| if_none_match(&headers(header::IF_NONE_MATCH, values));
    assert_eq!(tags(&[]), Ok(Condition::Always));
    assert_eq!(tags(&["*"]), Ok(Condition::Missing));
    assert_eq!(
        tags(&["W/\"a\", \"b\""]),
        Ok(Condition::NotOneOf(vec!["\"a\"".to_owned(), "\"b\"".to_owned()]))
    );
    assert!(tags(&["a"]).is_err());
    let mut both = headers(header::IF_NONE_MATCH, &["*"]);
    both.extend(headers(header::IF_MATCH, &["\"a\""]));
    assert_eq!(code(read(ContextRoute::Replace, &both, &Bytes::from_static(b"{}"))), "invalid_type");
}

fn write(route: ContextRoute, body: &'static str) -> Result<ContextRequest, Refusal> {
    read(route, &HeaderMap::new(), &Bytes::from_static(body.as_bytes()))
}

fn code(result: Result<ContextRequest, Refusal>) -> &'static str {
    match result {
        Err(Refusal::Request(RequestError::Invalid(bad))) => bad.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_context_is_an_object_and_stays_as_it_came() {
    let change = ContextChange::Replace(r#"{"n": 1.50}"#.to_owned());
    assert_eq!(
        write(ContextRoute::Replace, " {\"n\": 1.50}\n"),
        Ok(ContextRequest::Write { change, condition: Condition::Always })
    );
    for bad in ["", "{", "{}{}", "{\"a\"}", "\u{feff}{}"] {
        assert_eq!(code(write(ContextRoute::Merge, bad)), "invalid_json", "{bad:?}");
    }
    for bad in ["[]", "null", "1", "\"{}\""] {
        assert_eq!(code(write(ContextRoute::Replace, bad)), "invalid_type", "{bad:?}");
    }
}
