use super::*;

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(traceparents: &[&str]) -> HeaderMap {
    traceparents.iter().map(|text| (TRACEPARENT, HeaderValue::from_str(text).unwrap())).collect()
}

#[test]
fn a_parent_in_the_form_of_the_w3c_is_taken() {
    let context = parent(&headers(&[GOOD])).unwrap();
    assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
    assert!(context.is_sampled() && context.is_remote());
    let unsampled = GOOD.replace("-01", "-02");
    assert!(!parent(&headers(&[&unsampled])).unwrap().is_sampled());
    let later = format!("{}-what-comes", GOOD.replacen("00", "cc", 1));
    assert!(parent(&headers(&[&later])).is_some(), "a later version may say more");
}

#[test]
fn a_bad_parent_is_none() {
    for bad in [
        "",
        "00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
    ] {
        assert!(parent(&headers(&[bad])).is_none(), "{bad:?}");
    }
    assert!(parent(&headers(&[GOOD, GOOD])).is_none(), "two parents are none");
    assert!(parent(&HeaderMap::new()).is_none());
}

#[test]
fn several_lists_of_states_are_one() {
    let mut headers = headers(&[GOOD]);
    headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
    headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
    assert_eq!(parent(&headers).unwrap().trace_state().header(), "a=1,b=2");
}

#[test]
fn without_an_endpoint_nothing_is_made() {
    let tracer = Tracer::default();
    let mut span = tracer.request(|| panic!("nobody asks"), &headers(&[GOOD]), Instant::now());
    span.set_attribute(|| -> [(&'static str, Value); 1] { panic!("nobody asks") });
    span.failed("timeout");
    let mut told = headers(&[GOOD]);
    span.child(|| panic!("nobody asks"), SpanKind::Client).record(&mut told);
    assert_eq!((told, span.trace_id()), (headers(&[GOOD]), None));
    assert_eq!((tracer.0.is_none(), tracer.lost()), (true, 0));
}
