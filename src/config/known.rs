//! What is known of providers by their base URL, so that nobody has to write it down: how a broken answer is
//! continued and in which header the key goes. Only a default: what the file says always wins.

use url::Url;

use super::Prefill;

/// A host is the suffix itself or ends in a dot and the suffix; the path must start with `path`.
struct Continues {
    host: &'static str,
    path: &'static str,
    prefill: Prefill,
}

/// Only providers that document it. A wrong entry would splice a second, whole answer into the middle of the
/// first, whereas a missing one only costs asking again and matching. So Together, Fireworks and Cerebras,
/// where it works for some models and is promised for none, and OpenAI, Azure and Anthropic, whose newer
/// models refuse it, are not here. vLLM, Ollama and llama.cpp run on anybody's host: nothing to recognise.
const CONTINUES: &[Continues] = &[
    // docs.mistral.ai, "Prefix": `"prefix": true`; the answer then repeats the prefix.
    Continues { host: "api.mistral.ai", path: "/", prefill: Prefill::Prefix },
    // api-docs.deepseek.com, "Chat Prefix Completion (Beta)": only below this path.
    Continues { host: "api.deepseek.com", path: "/beta", prefill: Prefill::Prefix },
    // openrouter.ai/docs, "Assistant Prefill": a last assistant message is completed.
    Continues { host: "openrouter.ai", path: "/", prefill: Prefill::Assistant },
    // console.groq.com/docs/prefilling: the same.
    Continues { host: "api.groq.com", path: "/", prefill: Prefill::Assistant },
];

/// Azure takes a resource's key in `api-key`; `authorization` is for Entra ID tokens there.
const API_KEY_HOSTS: &[&str] = &["openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"];

/// How the provider at `base_url` goes on from a last assistant message.
pub fn prefill(base_url: &Url) -> Prefill {
    CONTINUES
        .iter()
        .find(|known| is_at(base_url, known.host) && base_url.path().starts_with(known.path))
        .map_or(Prefill::None, |known| known.prefill)
}

/// The header that takes the key of the provider at `base_url`; lower case.
pub fn api_key_header(base_url: &Url) -> &'static str {
    let bare = API_KEY_HOSTS.iter().any(|host| is_at(base_url, host));
    if bare { "api-key" } else { "authorization" }
}

fn is_at(base_url: &Url, suffix: &str) -> bool {
    let host = base_url.host_str().unwrap_or_default();
    host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hosts_have_their_habits() {
        for (url, continues, header) in [
            ("https://api.mistral.ai/v1", Prefill::Prefix, "authorization"),
            ("https://api.deepseek.com/v1", Prefill::None, "authorization"),
            ("https://api.deepseek.com/beta", Prefill::Prefix, "authorization"),
            ("https://openrouter.ai/api/v1", Prefill::Assistant, "authorization"),
            ("https://api.groq.com/openai/v1", Prefill::Assistant, "authorization"),
            ("https://notopenrouter.ai/api/v1", Prefill::None, "authorization"),
            ("https://openrouter.ai.evil.example/v1", Prefill::None, "authorization"),
            ("https://me.openai.azure.com/openai/v1", Prefill::None, "api-key"),
            ("http://127.0.0.1:11434/v1", Prefill::None, "authorization"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!((prefill(&url), api_key_header(&url)), (continues, header), "{url}");
        }
    }
}
