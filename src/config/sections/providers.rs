//! `[[providers]]`: where answers come from.
//!
//! A provider whose variables are not set is skipped with a warning, so that one file serves people with
//! different keys. Its faults are still errors, for they would show as soon as the key is there.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, HeaderValue, header};
use serde_json::Value as Json;
use url::{Host, Url};

use crate::config::{
    Secret,
    keyword::keywords,
    known,
    reader::{section::Section, value::Value},
    section_table::section,
    suggest::did_you_mean,
};

section! {
    /// `[[providers]]`
    [[providers]] pub struct ProviderConfig(section) {
        /// Name used in targets; no slash.
        name: String, read name;
        /// Base URL without a trailing slash (a bare host keeps its path `/`). Its only query may be Azure's
        /// `api-version`, which belongs on every request.
        base_url: Url, read base_url;
        /// Key sent upstream; `None` for servers that need none.
        api_key: Option<Secret> = None, read api_key;
        /// Extra request headers, lower-case names.
        headers: BTreeMap<String, Secret> = {}, read headers;
        /// Limit of the connection phase (DNS, TCP, TLS); `None`: `resilience.connect_timeout`.
        connect_timeout: Option<Duration> = None, stated "`resilience.connect_timeout`",
            read |value| value.positive().map(Some);
        /// `authorization` (as `Bearer`) or any other header (bare key, Azure: `api-key`).
        api_key_header: String = (known_header(base_url.as_ref())), stated "`\"authorization\"`",
            read |value| value.header_name(r#""authorization" or "api-key""#, &OWN_HEADERS);
        /// Most requests in flight to this provider; `None`: no bound.
        max_concurrency: Option<usize> = None;
        /// How it goes on from a last assistant message.
        prefill: Prefill = (base_url.as_ref().map(known::prefill).unwrap_or_default()), stated "by base URL";
    }
    joint {
        /// `false`: as if it were not written, but checked.
        enabled: bool = true, show |_, _| Json::Null;
    }
}

impl ProviderConfig {
    /// The URL of `route` (`/chat/completions`): below the base URL's path, with its query.
    pub fn url_of(&self, route: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}{route}", self.base_url.path().trim_end_matches('/')));
        url
    }
}

keywords! {
    /// How a provider continues an unfinished assistant message.
    pub enum Prefill {
        /// It does not: ask again and match.
        None = "none",
        /// A plain last assistant message is continued.
        Assistant = "assistant",
        /// With `"prefix": true` in that message (Mistral, DeepSeek).
        Prefix = "prefix",
        /// With `continue_final_message` and without `add_generation_prompt` (vLLM).
        Vllm = "vllm",
    }
}

/// What became of a provider that is written in the file.
pub(crate) enum ProviderStatus {
    /// Usable.
    Live(Box<ProviderConfig>),
    /// `enabled = false`.
    Disabled,
    /// These variables are not set.
    Unset(Vec<String>),
    /// An error was noted.
    Faulty,
}

/// Every provider of the file, by name, in its order.
pub(crate) struct Providers(Vec<(String, ProviderStatus)>);

impl Providers {
    /// What became of `name`; `None` when there is no such provider.
    pub(crate) fn status(&self, name: &str) -> Option<&ProviderStatus> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, status)| status)
    }

    /// "there is no provider `x`, did you mean `y`?"
    pub(crate) fn unknown(&self, name: &str) -> String {
        let hint = did_you_mean(name, self.0.iter().map(|(known, _)| known.as_str()));
        format!("there is no provider `{name}`{hint}")
    }

    /// The usable ones.
    pub(crate) fn into_live(self) -> Vec<ProviderConfig> {
        let live =
            |(_, status)| if let ProviderStatus::Live(provider) = status { Some(*provider) } else { None };
        self.0.into_iter().filter_map(live).collect()
    }
}

/// Reads every `[[providers]]`.
pub(crate) fn read(root: &Section<'_>) -> Providers {
    let mut providers = Providers(Vec::new());
    for table in root.tables("providers") {
        let table = table.skippable();
        let provider = ProviderConfig::read(&table);
        let (name, enabled) = (table.opt("name", name), table.opt("enabled", Value::boolean));
        table.refuse_unknown();
        let unset = table.unset();
        let status = match provider {
            _ if enabled == Some(false) => ProviderStatus::Disabled,
            _ if !unset.is_empty() => {
                table.warn(format!(
                    "{} is skipped: {} not set",
                    name.as_deref().unwrap_or("it"),
                    unset.join(", ")
                ));
                ProviderStatus::Unset(unset)
            }
            Some(provider) => ProviderStatus::Live(Box::new(provider)),
            None => ProviderStatus::Faulty,
        };
        let Some(name) = name else { continue };
        if providers.status(&name).is_some() {
            table.error_at("name", format!("there is already a provider `{name}`; names must differ"));
        }
        providers.0.push((name, status));
    }
    providers
}

/// Empty means none.
fn api_key(value: &Value<'_>) -> Option<Option<Secret>> {
    match value.text()? {
        key if key.is_empty() => Some(None),
        key => value.header_secret(key).map(Some),
    }
}

fn known_header(base_url: Option<&Url>) -> String {
    base_url.map(known::api_key_header).unwrap_or_default().to_owned()
}

/// A target is `provider/model`, so a slash would make two readings of it.
fn name(value: &Value<'_>) -> Option<String> {
    let name = value.name()?;
    if name.contains(|c: char| c == '/' || c.is_whitespace()) {
        return value.fail("a provider's name must not hold a slash or a blank");
    }
    Some(name)
}

/// Never quotes the URL: it may hold a password.
fn base_url(value: &Value<'_>) -> Option<Url> {
    let text = value.text()?;
    let Ok(mut url) = Url::parse(&text) else {
        return value.fail("is not a URL; expected one such as \"https://api.openai.com/v1\"");
    };
    let only_api_version = url.query_pairs().all(|(name, _)| name == "api-version");
    let complaint = if !matches!(url.scheme(), "http" | "https") {
        "must begin with http:// or https://"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not hold a user or password; the key goes into `api_key`"
    } else if url.fragment().is_some() {
        "must not hold a fragment (`#…`)"
    } else if !only_api_version {
        "must not hold a query; only Azure's `?api-version=` may stay"
    } else if ends_in_a_route(&url) {
        "must end before the route, for the gateway adds `/chat/completions` and its like itself"
    } else {
        warn_of_clear_text(value, &url);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        return Some(url);
    };
    value.fail(complaint)
}

fn ends_in_a_route(url: &Url) -> bool {
    let path = url.path().trim_end_matches('/');
    ["/chat/completions", "/completions", "/responses", "/embeddings", "/models"]
        .iter()
        .any(|route| path.ends_with(route))
}

fn warn_of_clear_text(value: &Value<'_>, url: &Url) {
    let loopback = match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost" || domain.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !loopback {
        value.warn("http:// sends the key and every prompt in clear text over the network; prefer https://");
    }
}

/// Headers that belong to the connection or the body; a fixed value would break every request.
const OWN_HEADERS: [HeaderName; 5] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::TE];

fn headers(value: &Value<'_>) -> Option<BTreeMap<String, Secret>> {
    let table = value.table()?;
    Some(table.entries().iter().filter_map(|(name, value)| header(name, value)).collect())
}

fn header(name: &str, value: &Value<'_>) -> Option<(String, Secret)> {
    let Ok(name) = HeaderName::try_from(name) else {
        return value.fail("is not a valid header name");
    };
    if OWN_HEADERS.contains(&name) {
        return value.fail("is set by the gateway itself");
    }
    let text = value.text()?;
    if HeaderValue::from_str(&text).is_err() {
        return value.fail("holds a character that a header cannot carry");
    }
    Some((name.as_str().to_owned(), Secret::new(text)))
}
