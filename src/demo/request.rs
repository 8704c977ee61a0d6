//! What a simulated provider reads of a request: enough for a friendly answer, and no more.
//!
//! It never refuses: whatever it cannot read counts as an empty question.

use serde_json::Value;

/// Characters of a question that are echoed.
const LONGEST_ECHO: usize = 200;

/// The parts of a request that matter here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DemoRequest {
    /// The requested model.
    pub model: String,
    /// The answer is to be streamed.
    pub streamed: bool,
    /// The client wants a chunk with the usage at the end of the stream.
    pub wants_usage: bool,
    /// Estimated tokens of the prompt.
    pub prompt_tokens: usize,
    /// The answer word by word, each with the space before it, without the part the client already has.
    pub words: Vec<String>,
    /// The texts to embed.
    pub inputs: Vec<String>,
}

impl DemoRequest {
    /// Reads the body of a request to any route.
    pub(crate) fn read(body: &Value) -> Self {
        let said = conversation(body);
        let question = said.iter().rfind(|message| message.role != "assistant");
        let question = question.map_or("", |message| &message.text);
        let answer = answer_to(question, &noted(&said));
        let prefill = said.last().filter(|message| message.role == "assistant");
        let rest = prefill.and_then(|message| answer.strip_prefix(message.text.as_str()));
        Self {
            model: body["model"].as_str().unwrap_or(super::model_names::CHAT_MODEL).to_owned(),
            streamed: body["stream"].as_bool().unwrap_or(false),
            wants_usage: body["stream_options"]["include_usage"].as_bool().unwrap_or(false),
            prompt_tokens: said.iter().map(|message| tokens(&message.text)).sum(),
            words: words(rest.unwrap_or(&answer)),
            inputs: texts(&body["input"]),
        }
    }

    /// The answer in one piece.
    pub(crate) fn text(&self) -> String {
        self.words.concat()
    }
}

struct DemoMessage {
    role: String,
    text: String,
}

/// `messages` of a chat, `input` of a response, `prompt` of a completion.
fn conversation(body: &Value) -> Vec<DemoMessage> {
    let said = ["messages", "input", "prompt"].iter().map(|key| &body[*key]).find(|said| !said.is_null());
    match said {
        Some(Value::Array(items)) => items.iter().map(message).collect(),
        Some(one) => vec![message(one)],
        None => Vec::new(),
    }
}

fn message(item: &Value) -> DemoMessage {
    let content = item.get("content").unwrap_or(item);
    let role = item["role"].as_str().unwrap_or("user").to_owned();
    DemoMessage { role, text: texts(content).join(" ") }
}

/// A text, a list of texts, or a list of parts with a `text`. Tokens have no text, but each list is an input.
#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
fn texts(content: &Value) -> Vec<String> {
    let one = |value: &Value| value.as_str().or(value["text"].as_str()).unwrap_or_default().to_owned();
    match content {
        Value::Array(items) if items.iter().all(Value::is_number) => vec![content.to_string()],
        Value::Array(items) => items.iter().map(one).collect(),
        other => vec![one(other)],
    }
}

/// The recalled notes, best first: the lines of the memory block, as a model reads them.
fn noted(said: &[DemoMessage]) -> Vec<&str> {
    let notes = said.iter().rfind(|message| message.role != "assistant" && message.text.contains("\nBEGIN-"));
    notes.map_or_else(Vec::new, |notes| {
        notes.text.lines().filter_map(|line| line.strip_prefix("- ")).collect()
    })
}

/// The text on one line, shortened to [`LONGEST_ECHO`].
fn echo(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST_ECHO) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The same for every provider, so that a broken stream can continue from another one in the middle of a sentence.
fn answer_to(question: &str, notes: &[&str]) -> String {
    let echoed = echo(question);
    let opening = match echoed.as_str() {
        "" => "You said nothing, which is fine.".to_owned(),
        _ => format!("You said: “{echoed}”."),
    };
    let recalled = match notes {
        [] => String::new(),
        [one] => format!(" The gateway reminded me: “{}”.", echo(one)),
        [first, rest @ ..] => {
            format!(" The gateway reminded me: “{}”, and {} more.", echo(first), rest.len())
        }
    };
    format!(
        "{opening}{recalled} This is a simulated answer, and it would read the same from any of the three providers: whoever \
         scores best gets your next question, and if one breaks in the middle of a sentence, another finishes it."
    )
}

/// Splits `"a b"` into `["a", " b"]`.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for piece in text.split_inclusive(' ') {
        match words.last_mut().filter(|last| last.ends_with(' ')) {
            Some(last) => {
                last.pop();
                words.push(format!(" {piece}"));
            }
            None => words.push(piece.to_owned()),
        }
    }
    words
}

/// A rule of thumb: one token for four bytes.
pub(crate) fn tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}

#[cfg(test)]
mod tests;
