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
        assert_eq!(profile(host).name, name, "{host}");
    }
}

#[test]
fn groq_refuses_what_it_documents_and_nothing_else() {
    let groq = profile("api.groq.com");
    let asks =
        |path: &'static str, value: &'static str| groq.refusal(move |p: &str| (p == path).then_some(value));
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
    let groq = profile("api.groq.com");
    assert!(groq.refuses("logprobs") && groq.refuses("name") && groq.refuses("messages[].name"));
    assert!(!groq.refuses("messages") && !groq.refuses("temperature") && !PLAIN.refuses("logprobs"));
}

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
