//! The body of an embeddings request, and the vectors of its answer.
//!
//! The request uses only what every OpenAI-compatible server understands. An answer that does not match the request
//! exactly is rejected: a vector assigned to the wrong text would never be noticed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
struct EmbeddingsResponse {
    data: Vec<EmbeddingsItem>,
}

#[derive(Deserialize)]
struct EmbeddingsItem {
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// A request to `model` for a vector of each of `texts`; with `dimensions` only if the model's default length differs.
///
/// # Errors
/// None in practice: text and numbers are always valid JSON.
pub(crate) fn request(model: &str, texts: &[&str], dimensions: Option<u32>) -> serde_json::Result<Bytes> {
    serde_json::to_vec(&Request { model, input: texts, dimensions }).map(Bytes::from)
}

/// The vectors in `body`, one for each of `count` texts in their order; `None` unless each is there exactly once
/// and holds only numbers.
pub(crate) fn vectors(body: &[u8], count: usize) -> Option<Vec<Vec<f32>>> {
    let answer: EmbeddingsResponse = serde_json::from_slice(body).ok()?;
    let mut vectors = vec![None; count];
    for (place, item) in answer.data.into_iter().enumerate() {
        let vector = vectors.get_mut(item.index.unwrap_or(place))?;
        let sane = !item.embedding.is_empty() && item.embedding.iter().all(|x| x.is_finite());
        if vector.is_some() || !sane {
            return None;
        }
        *vector = Some(item.embedding);
    }
    vectors.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_no_more_than_it_must() {
        let body = request("m", &["a \"b\"", "c"], None).unwrap();
        assert_eq!(body, r#"{"model":"m","input":["a \"b\"","c"]}"#);
        let body = request("m", &["a"], Some(3)).unwrap();
        assert_eq!(body, r#"{"model":"m","input":["a"],"dimensions":3}"#);
    }

    #[test]
    fn vectors_come_back_in_the_order_of_their_texts_or_not_at_all() {
        let of = |items: &str| vectors(format!(r#"{{"object":"list","data":[{items}]}}"#).as_bytes(), 2);
        let both = Some(vec![vec![1.0, 2.0], vec![-0.5]]);
        assert_eq!(of(r#"{"index":1,"embedding":[-0.5]},{"index":0,"embedding":[1,2]}"#), both);
        assert_eq!(of(r#"{"embedding":[1,2]},{"embedding":[-0.5],"object":"embedding"}"#), both);
        for bad in [
            r#"{"index":0,"embedding":[1]}"#,
            r#"{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}"#,
            r#"{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}"#,
            r#"{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}"#,
            r#"{"embedding":[1]},{"embedding":[]}"#,
            r#"{"embedding":[1]},{"embedding":"AACAPw=="}"#,
            r#"{"embedding":[1]},{"embedding":[1e999]}"#,
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
