use http::HeaderValue;

use super::*;

fn html(accept: &[&'static str]) -> bool {
    let mut headers = HeaderMap::new();
    for value in accept {
        headers.append(header::ACCEPT, HeaderValue::from_static(value));
    }
    prefers_html(&headers)
}

#[test]
fn browsers_get_html() {
    assert!(html(&["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"]));
    assert!(html(&["text/html"]));
    assert!(html(&["TEXT/HTML ; charset=utf-8"]));
    assert!(html(&["text/*"]));
    assert!(html(&["application/json;q=0.5", "text/html;q=0.9"]));
    assert!(html(&["*/*;q=0.1, text/html; level=1; q=0.2"]));
    assert!(html(&["application/json;q=0, */*"]), "everything but JSON");
}

#[test]
fn programs_get_json() {
    for accept in [
        &[][..],
        &["*/*"],
        &["application/json"],
        &["application/json, text/html;q=0.9"],
        &["text/html;q=0.3, application/*"],
        &["text/html;q=0.3, */*"],
        &["application/json, text/html"],
        &["text/html;q=0"],
        &["text/*, text/html;q=0"],
        &["text/event-stream"],
    ] {
        assert!(!html(accept), "{accept:?}");
    }
}

#[test]
fn scrapers_get_open_metrics_if_they_ask_for_it() {
    let format = |accept: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        preferred_format(&headers)
    };
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;\
             q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for open in [prometheus, "application/openmetrics-text", "text/plain, application/openmetrics-text"] {
        assert_eq!(format(open), Format::OpenMetrics, "{open}");
    }
    for plain in
        ["*/*", "text/plain", "application/*", "application/openmetrics-text;q=0", "text/html,*/*;q=0.8"]
    {
        assert_eq!(format(plain), Format::Prometheus, "{plain}");
    }
    assert_eq!(preferred_format(&HeaderMap::new()), Format::Prometheus);
}

#[test]
fn garbage_is_no_preference() {
    for accept in
        ["", ",,;", "html", "text/html;q=", "text/html;q=2", "text/html;q=nan", "text/html;q=-1", "/"]
    {
        assert!(!html(&[accept]), "{accept:?}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_bytes(b"text/html\xff").unwrap());
    assert!(!prefers_html(&headers));
}
