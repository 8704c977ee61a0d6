//! Token counts, as each of OpenAI's APIs reports them.

use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::json::fields::{self, ObjectFields};

/// The tokens of one answer, as the provider counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens read: `prompt_tokens`, or `input_tokens`.
    pub prompt_tokens: u64,
    /// Tokens written: `completion_tokens`, or `output_tokens`.
    pub completion_tokens: u64,
    /// Both together; the sum if the provider reports no total.
    pub total_tokens: u64,
}

/// A `usage` object being read. `null` and objects without counts are no usage.
#[derive(Debug, Default)]
pub(super) struct UsageCounts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
}

impl<'de> ObjectFields<'de> for UsageCounts {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let slot = match key {
            "prompt_tokens" | "input_tokens" => &mut self.prompt,
            "completion_tokens" | "output_tokens" => &mut self.completion,
            "total_tokens" => &mut self.total,
            _ => return fields::skip(map),
        };
        // A second spelling that is null or invalid must not overwrite the first.
        *slot = fields::count(map.next_value::<&RawValue>()?).or(*slot);
        Ok(())
    }
}

impl UsageCounts {
    /// The usage, if any count was present.
    pub(super) fn usage(self) -> Option<Usage> {
        self.prompt.or(self.completion).or(self.total)?;
        let (prompt_tokens, completion_tokens) = (self.prompt.unwrap_or(0), self.completion.unwrap_or(0));
        let total_tokens = self.total.unwrap_or(prompt_tokens.saturating_add(completion_tokens));
        Some(Usage { prompt_tokens, completion_tokens, total_tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::json::fields::JsonObject;

    fn read(json: &str) -> Option<Usage> {
        serde_json::from_str::<JsonObject<UsageCounts>>(json).unwrap().0.usage()
    }

    #[test]
    fn every_spelling_counts() {
        let usage = Usage { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
        for json in [
            r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}"#,
            r#"{"input_tokens":3,"output_tokens":4}"#,
            r#"{"prompt_tokens":3.0,"completion_tokens":4e0,"x":{"prompt_tokens":9}}"#,
            r#"{"prompt_tokens":3,"input_tokens":null,"completion_tokens":9,"completion_tokens":4}"#,
        ] {
            assert_eq!(read(json), Some(usage), "{json}");
        }
    }

    #[test]
    fn nothing_counted_is_no_usage() {
        for json in
            ["null", "{}", "[]", "7", r#""x""#, r#"{"prompt_tokens":null}"#, r#"{"total_tokens":"many"}"#]
        {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn absurd_counts_do_not_overflow() {
        let usage = read(r#"{"prompt_tokens":1e300,"completion_tokens":18446744073709551615}"#).unwrap();
        assert_eq!(usage.total_tokens, u64::MAX);
    }
}
