//! The deviations of known providers from OpenAI's API, as data.
//!
//! A profile makes a target a last resort for a request it is known to reject, or tells how to read its answer.
//! It must never change the client's body: the provider gets exactly what the client sent.

/// A request field that a provider answers with a 400 or 422.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedField {
    /// Top-level field, or `messages[].name` for a field of any message.
    pub path: &'static str,
    /// Raw JSON values that it accepts nevertheless, such as `1` for `n`.
    pub unless: &'static [&'static str],
}

/// The deviations of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderProfile {
    /// Its name in logs and reasons.
    pub name: &'static str,
    /// Its domain names, subdomains included.
    pub hosts: &'static [&'static str],
    /// 403 means that prompt and answer do not fit the context, not that the key is bad.
    pub context_403: bool,
    /// 503 means "above your rate for now" and not an outage, also without `Retry-After`.
    pub throttle_503: bool,
    /// It accepts `stream_options.include_usage`.
    pub stream_options: bool,
    /// Fields it rejects although OpenAI accepts them.
    pub refused_params: &'static [RejectedField],
}

impl ProviderProfile {
    /// The first field of a request that this provider rejects, so that the request should rather go elsewhere.
    ///
    /// `raw` returns the JSON text of a field at a [`RejectedField::path`], or `None` if the request has none.
    /// This is a preference: if no other target can take the request, send it and let the provider answer.
    pub fn refusal<'a>(&self, raw: impl Fn(&str) -> Option<&'a str>) -> Option<&'static str> {
        let refuses = |r: &&RejectedField| {
            raw(r.path).is_some_and(|value| value != "null" && !r.unless.contains(&value.trim()))
        };
        self.refused_params.iter().find(refuses).map(|r| r.path)
    }

    /// Whether an error that names `param` is about a field this provider is known to reject.
    pub fn refuses(&self, param: &str) -> bool {
        self.refused_params.iter().any(|r| r.path.rsplit('.').next() == Some(param) || r.path == param)
    }
}

/// The profile of the provider at `host` (a domain name without port); [`PLAIN`] for an unknown host.
pub fn of(host: &str) -> &'static ProviderProfile {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let serves = |domain: &&str| {
        host.strip_suffix(*domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    KNOWN.iter().find(|q| q.hosts.iter().any(serves)).unwrap_or(&PLAIN)
}

/// A provider that follows OpenAI's API.
pub static PLAIN: ProviderProfile = ProviderProfile {
    name: "openai-compatible",
    hosts: &[],
    context_403: false,
    throttle_503: false,
    stream_options: true,
    refused_params: &[],
};

const fn any(path: &'static str) -> RejectedField {
    RejectedField { path, unless: &[] }
}

const fn unless(path: &'static str, unless: &'static [&'static str]) -> RejectedField {
    RejectedField { path, unless }
}

static KNOWN: &[ProviderProfile] = &[
    // console.groq.com/docs/openai, "currently unsupported".
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
    // 422 `extra_forbidden` for every field it does not list; usage comes in its last chunk without a request for it.
    ProviderProfile {
        name: "mistral",
        hosts: &["mistral.ai"],
        stream_options: false,
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_belongs_to_a_provider_by_whole_labels() {
        let names = [
            ("api.groq.com", "groq"),
            ("API.GROQ.COM.", "groq"),
            ("groq.com", "groq"),
            ("evilgroq.com", "openai-compatible"),
            ("groq.com.evil.example", "openai-compatible"),
            ("api.together.xyz", "together"),
            ("api.together.ai", "together"),
            ("api.mistral.ai", "mistral"),
            ("api.cerebras.ai", "cerebras"),
            ("127.0.0.1", "openai-compatible"),
            ("", "openai-compatible"),
        ];
        for (host, name) in names {
            assert_eq!(of(host).name, name, "{host}");
        }
    }

    #[test]
    fn groq_refuses_what_it_documents_and_nothing_else() {
        let groq = of("api.groq.com");
        let asks = |path: &'static str, value: &'static str| {
            groq.refusal(move |p: &str| (p == path).then_some(value))
        };
        assert_eq!(asks("logit_bias", r#"{"50256":-100}"#), Some("logit_bias"));
        assert_eq!(asks("messages[].name", r#""ann""#), Some("messages[].name"));
        assert_eq!(asks("n", "2"), Some("n"));
        assert_eq!(asks("n", "1"), None);
        assert_eq!(asks("logprobs", "false"), None);
        assert_eq!(asks("logprobs", "true"), Some("logprobs"));
        assert_eq!(asks("logit_bias", "null"), None, "null is the same as absent");
        assert_eq!(asks("temperature", "0"), None);
    }

    #[test]
    fn an_error_about_a_refused_field_is_known_by_its_last_name() {
        let groq = of("api.groq.com");
        assert!(groq.refuses("logprobs") && groq.refuses("name") && groq.refuses("messages[].name"));
        assert!(!groq.refuses("messages") && !groq.refuses("temperature") && !PLAIN.refuses("logprobs"));
    }
}
