//! Forms as clients write them, and as attackers do.

use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=xx";

/// A form with each part's headers and value.
fn form(parts: &[(&str, &str)]) -> String {
    let part = |(head, value): &(&str, &str)| {
        format!("--xx\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--xx--\r\n"
}

fn code(content_type: &str, body: &str) -> (&'static str, Option<&'static str>) {
    let error = peek(content_type, body.as_bytes()).unwrap_err();
    (error.code, error.param)
}

#[test]
fn the_model_is_found_and_spliced_among_files() {
    let file = "name=\"file\"; filename=\"model\"\r\nContent-Type: audio/wav";
    let body = form(&[
        (file, "RIFF\r\n--x\r\n\r\n--xxx\0"),
        ("name=\"model\"", "whisper-1"),
        ("name=stream", "true"),
    ]);
    let body = Bytes::from(body);
    let form = peek(TYPE, &body).unwrap();
    assert_eq!(
        (&*form.model, &body[form.model_at.clone()], form.stream),
        ("whisper-1", &b"whisper-1"[..], true)
    );
    let parts = form.with_model(&body, "whisper-large-v3");
    let changed = String::from_utf8(body.to_vec()).unwrap().replace("whisper-1", "whisper-large-v3");
    assert_eq!(&parts.concat()[..], changed.as_bytes());
    assert_eq!(parts.iter().count(), 3);
    assert_eq!(form.with_model(&body, "whisper-1").concat().as_ptr(), body.as_ptr());
}

#[test]
fn names_and_boundaries_in_every_spelling() {
    let plain = form(&[("name=\"model\"", "m")]);
    for content_type in [
        "multipart/form-data;boundary=xx",
        "Multipart/Form-Data; charset=utf-8; Boundary=\"xx\"",
        "multipart/form-data; boundary=xx ; a=b",
    ] {
        assert_eq!(peek(content_type, plain.as_bytes()).unwrap().model, "m", "{content_type}");
    }
    for name in ["name=model", "NAME = \"model\"", "x=\"a;name=b\"; name=\"model\"", "name=\"mod\\el\""] {
        assert_eq!(peek(TYPE, form(&[(name, "m")]).as_bytes()).unwrap().model, "m", "{name}");
    }
    let odd = "preamble\r\n--xx \t\r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=\"model\"\r\n\r\nm\r\n--xx--epilogue";
    assert_eq!(peek(TYPE, odd.as_bytes()).unwrap().model, "m");
    let empty_part = format!("--xx\r\n--xx\r\n\r\n\r\n{plain}");
    assert_eq!(peek(TYPE, empty_part.as_bytes()).unwrap().model, "m");
}

#[test]
fn what_is_refused() {
    let good = form(&[("name=\"model\"", "m")]);
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=xx",
        "application/json",
        "",
    ] {
        assert_eq!(code(content_type, &good).0, "invalid_multipart", "{content_type}");
    }
    assert_eq!(code(TYPE, ""), ("invalid_multipart", None));
    assert_eq!(code(TYPE, good.strip_suffix("--xx--\r\n").unwrap()), ("invalid_multipart", None));
    assert_eq!(code(TYPE, "--xx--"), ("missing_field", Some("model")));
    assert_eq!(code(TYPE, &form(&[("name=\"model\"", "")])), ("missing_field", Some("model")));
    assert_eq!(
        code(TYPE, &form(&[("name=\"model\"; filename=\"m\"", "m")])),
        ("missing_field", Some("model"))
    );
    assert_eq!(code(TYPE, &form(&[("name=\"models\"", "m")])), ("missing_field", Some("model")));
    let twice = form(&[("name=\"model\"", "a"), ("name=\"model\"", "b")]);
    assert_eq!(code(TYPE, &twice), ("invalid_multipart", Some("model")));
    assert_eq!(code(TYPE, &form(&[("name=\"model\"", &"m".repeat(2000))])), ("invalid_type", Some("model")));
}

proptest! {
    #[test]
    fn never_panics(pieces in prop::collection::vec(prop::sample::select(vec![
        "--xx", "--", "\r\n", "\n", "\r\n\r\n", "Content-Disposition: form-data; name=\"model\"", "m", "\"", "\\", ";", "=", " ", "name=", ":",
    ]), 0..40), content_type in "multipart/form-data; ?boundary=?\"?x{0,3}\\\\?\"?.{0,5}") {
        let body = Bytes::from(pieces.concat());
        for content_type in [TYPE, &content_type] {
            if let Ok(form) = peek(content_type, &body) {
                prop_assert_eq!(form.model.as_bytes(), &body[form.model_at.clone()]);
            }
        }
    }
}
