//! What is known of providers by their base URL: one table, each provider once.
//!
//! Two things are defaults of the configuration, and what the file says always wins: how a broken answer is continued,
//! and which header takes the key. The rest makes a target ineligible for a request that it is known to refuse, or says
//! how to read its answer. It must never lead to a change of the client's body.
//!
//! The table lies with the configuration, which shows the defaults that it takes from here; `upstream` uses it, too.

use url::Url;

use super::Prefill;

/// A request field that a provider answers with a 400 or 422.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedField {
    /// Top-level field, or `messages[].name` for a field of any message.
    pub path: &'static str,
    /// Raw JSON values that it takes nevertheless, such as `1` for `n`.
    pub unless: &'static [&'static str],
}

/// Where a provider continues a last assistant message: at `host` and below it, where the path starts with `path`.
///
/// Only where the provider documents it. A wrong entry would splice a second, whole answer into the middle of the
/// first, whereas a missing one only costs asking again and matching. So Together, Fireworks and Cerebras, where it works
/// for some models and is promised for none, and OpenAI, Azure and Anthropic, whose newer models refuse it, have none.
/// vLLM, Ollama and llama.cpp run on anybody's host: nothing to recognise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KnownPrefill {
    host: &'static str,
    path: &'static str,
    prefill: Prefill,
}

/// What is known of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderProfile {
    /// The provider's usual name, in lower case.
    pub name: &'static str,
    /// Domain names it is served from; subdomains belong to it.
    pub hosts: &'static [&'static str],
    /// 403 means that prompt and answer do not fit the context, not that the key is bad.
    pub context_403: bool,
    /// 503 means "above your rate for now" and is no sign of a breakdown, also without `Retry-After`.
    pub throttle_503: bool,
    /// Fields it refuses although OpenAI takes them.
    pub refused_params: &'static [RejectedField],
    api_key_header: &'static str,
    continuation: Option<KnownPrefill>,
}

impl ProviderProfile {
    /// The first field of a request that this provider refuses, so that the request should rather go elsewhere.
    ///
    /// `raw` returns the JSON text of a field at a [`RejectedField::path`], or `None` if the request has none.
    /// This is a preference: if nobody else can take the request, ask and let the provider answer.
    pub fn refusal<'a>(&self, raw: impl Fn(&str) -> Option<&'a str>) -> Option<&'static str> {
        let refuses = |r: &&RejectedField| {
            raw(r.path).is_some_and(|value| value != "null" && !r.unless.contains(&value.trim()))
        };
        self.refused_params.iter().find(refuses).map(|r| r.path)
    }

    /// Whether an error that names `param` is about a field this provider is known to refuse.
    pub fn refuses(&self, param: &str) -> bool {
        self.refused_params.iter().any(|r| r.path.rsplit('.').next() == Some(param) || r.path == param)
    }
}

/// The profile of the provider at `host` (a domain name without port); a plain one for an unknown host.
pub(crate) fn profile(host: &str) -> &'static ProviderProfile {
    find(&host.trim_end_matches('.').to_ascii_lowercase())
}

/// How the provider at `base_url` goes on from a last assistant message.
pub(crate) fn prefill(base_url: &Url) -> Prefill {
    let host = base_url.host_str().unwrap_or_default();
    let at = |known: &&KnownPrefill| is_at(host, known.host) && base_url.path().starts_with(known.path);
    find(host).continuation.as_ref().filter(at).map_or(Prefill::None, |known| known.prefill)
}

/// The header that takes the key of the provider at `base_url`; lower case.
pub(crate) fn api_key_header(base_url: &Url) -> &'static str {
    find(base_url.host_str().unwrap_or_default()).api_key_header
}

fn find(host: &str) -> &'static ProviderProfile {
    KNOWN.iter().find(|known| known.hosts.iter().any(|domain| is_at(host, domain))).unwrap_or(&PLAIN)
}

/// A host is the domain itself, or ends in a dot and the domain.
fn is_at(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A provider that does what OpenAI's API says.
pub(crate) static PLAIN: ProviderProfile = ProviderProfile {
    name: "openai-compatible",
    hosts: &[],
    context_403: false,
    throttle_503: false,
    refused_params: &[],
    api_key_header: "authorization",
    continuation: None,
};

const fn continues(host: &'static str, path: &'static str, prefill: Prefill) -> Option<KnownPrefill> {
    Some(KnownPrefill { host, path, prefill })
}

const fn any(path: &'static str) -> RejectedField {
    RejectedField { path, unless: &[] }
}

const fn unless(path: &'static str, unless: &'static [&'static str]) -> RejectedField {
    RejectedField { path, unless }
}

static KNOWN: &[ProviderProfile] = &[
    // console.groq.com/docs/openai, "currently unsupported"; /docs/prefilling: a last assistant message is completed.
    ProviderProfile {
        name: "groq",
        hosts: &["groq.com"],
        refused_params: &[
            unless("logprobs", &["false"]),
            any("logit_bias"),
            any("top_logprobs"),
            any("messages[].name"),
            unless("n", &["1"]),
        ],
        continuation: continues("api.groq.com", "/", Prefill::Assistant),
        ..PLAIN
    },
    // docs.together.ai, "Error codes" and "Rate limits".
    ProviderProfile {
        name: "together",
        hosts: &["together.xyz", "together.ai"],
        context_403: true,
        throttle_503: true,
        ..PLAIN
    },
    // 422 `extra_forbidden` for every field it does not list; usage comes unasked in its last chunk.
    // docs.mistral.ai, "Prefix": `"prefix": true`; the answer then repeats the prefix.
    ProviderProfile {
        name: "mistral",
        hosts: &["mistral.ai"],
        refused_params: &[
            any("user"),
            any("stream_options"),
            any("max_completion_tokens"),
            any("seed"),
            any("logit_bias"),
            any("logprobs"),
            any("top_logprobs"),
            any("service_tier"),
            any("store"),
        ],
        continuation: continues("api.mistral.ai", "/", Prefill::Prefix),
        ..PLAIN
    },
    // As its client libraries document; 400.
    ProviderProfile {
        name: "cerebras",
        hosts: &["cerebras.ai"],
        refused_params: &[
            any("frequency_penalty"),
            any("logit_bias"),
            any("presence_penalty"),
            any("parallel_tool_calls"),
            any("service_tier"),
        ],
        ..PLAIN
    },
    // api-docs.deepseek.com, "Chat Prefix Completion (Beta)": only below this path.
    ProviderProfile {
        name: "deepseek",
        hosts: &["deepseek.com"],
        continuation: continues("api.deepseek.com", "/beta", Prefill::Prefix),
        ..PLAIN
    },
    // openrouter.ai/docs, "Assistant Prefill": a last assistant message is completed.
    ProviderProfile {
        name: "openrouter",
        hosts: &["openrouter.ai"],
        continuation: continues("openrouter.ai", "/", Prefill::Assistant),
        ..PLAIN
    },
    // Azure takes a resource's key in `api-key`; `authorization` is for Entra ID tokens there.
    ProviderProfile {
        name: "azure",
        hosts: &["openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"],
        api_key_header: "api-key",
        ..PLAIN
    },
];

#[cfg(test)]
mod tests;
