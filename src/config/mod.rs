//! What the user wrote, checked: one immutable [`Config`] that every part reads.
//!
//! The types here say what the keys of `config.toml` mean; being plain documented data, they stay together
//! in one longer file. How a file becomes a `Config` is in [`read`] (text to `Config`, gathering every
//! problem). This module does no routing and keeps no state.
//!
//! | module | does |
//! | --- | --- |
//! | [`read`] | file or text to [`Loaded`] or [`Problems`] |
//! | `sections/` | one reader per section of the file, and the checks between sections |
//! | `document`, `value` | the TOML document: sections and typed values that know their line and key path |
//! | `env`, `units`, `choice`, `nearest` | `${NAME}`, `"250ms"`, `"a" \| "b"`, "did you mean …?" |
//! | `known` | what we know of providers by their base URL |
//! | `masked` | the configuration as JSON without its secrets |
//! | `diff` | what a new configuration changes, without its secrets |
//! | [`watch`] | when the file may have changed |

mod choice;
mod defaults;
mod diff;
mod document;
mod env;
pub mod known;
mod masked;
mod nearest;
mod problem;
pub mod read;
mod secret;
mod sections;
mod units;
mod value;
pub mod watch;

#[cfg(test)]
mod shipped_tests;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

pub use diff::changes;
pub use problem::{Problem, Problems};
pub use read::{Loaded, load, parse};
pub use secret::Secret;

/// The whole checked configuration. Only [`read`] makes one from a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Where the gateway listens and how it stops.
    pub server: Server,
    /// Who may operate it.
    pub admin: Admin,
    /// Who may use it.
    pub auth: Auth,
    /// Where answers come from. Providers without a key are not in here.
    pub providers: Vec<Provider>,
    /// What clients may ask for. Every model has at least one target.
    pub models: Vec<Model>,
    /// In which order targets are asked.
    pub routing: Routing,
    /// How long we wait and how often we try.
    pub resilience: Resilience,
    /// When a target is left alone.
    pub breaker: Breaker,
    /// How idle or failed targets are looked at.
    pub health: Health,
    /// How many requests a user may have in flight.
    pub slots: Slots,
    /// How much a user may ask per minute.
    pub limits: Limits,
    /// What is remembered and recalled.
    pub memory: Memory,
    /// Shared state for several gateways.
    pub redis: Redis,
    /// What the gateway tells about itself.
    pub telemetry: Telemetry,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// PEM files for HTTPS; both or none.
    pub tls: Option<Tls>,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// How long running streams may finish after SIGTERM.
    pub drain_timeout: Duration,
}

/// Certificate and key of the HTTPS listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// PEM certificate chain.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Admin {
    /// Bearer token of the admin routes; `None`: loopback only.
    pub token: Option<Secret>,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// HS256 secret of Open WebUI's signed `x-openwebui-user-jwt`.
    pub jwt_secret: Option<Secret>,
    /// Headers that name the user, first match wins; lower case.
    pub user_headers: Vec<String>,
    /// Client keys; empty means open mode (loopback only).
    pub keys: Vec<ClientKey>,
}

/// `[[auth.keys]]`
#[derive(Debug, Clone, PartialEq)]
pub struct ClientKey {
    /// Whose key it is.
    pub user: String,
    /// SHA-256 of the key: the plain key is hashed while reading and not kept.
    pub sha256: [u8; 32],
    /// A trusted app's key: the user is taken from the request.
    pub act_for_users: bool,
    /// Models this key may ask for; `*` at the end of a name matches any rest.
    pub models: Vec<String>,
    /// A higher number leaves the queue first.
    pub priority: i64,
}

/// `[[providers]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Name used in targets; no slash.
    pub name: String,
    /// Base URL without a trailing slash (a bare host keeps its path `/`). Its only query may be Azure's
    /// `api-version`, which belongs on every request.
    pub base_url: url::Url,
    /// Key sent upstream; `None` for servers that need none.
    pub api_key: Option<Secret>,
    /// Extra request headers, lower-case names.
    pub headers: BTreeMap<String, Secret>,
    /// Limit of the connection phase (DNS, TCP, TLS); `None`: `resilience.connect_timeout`.
    pub connect_timeout: Option<Duration>,
    /// `authorization` (as `Bearer`) or any other header (bare key, Azure: `api-key`).
    pub api_key_header: String,
    /// Most requests in flight to this provider; `None`: no bound.
    pub max_concurrency: Option<usize>,
    /// How it goes on from a last assistant message.
    pub prefill: Prefill,
}

impl Provider {
    /// The URL of `route` (`/chat/completions`): below the base URL's path, with its query.
    pub fn url_of(&self, route: &str) -> url::Url {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}{route}", self.base_url.path().trim_end_matches('/')));
        url
    }
}

/// How a provider continues an unfinished assistant message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefill {
    /// It does not: ask again and match.
    #[default]
    None,
    /// A plain last assistant message is continued.
    Assistant,
    /// With `"prefix": true` in that message (Mistral, DeepSeek).
    Prefix,
    /// With `continue_final_message` and without `add_generation_prompt` (vLLM).
    Vllm,
}

/// `[[models]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What clients ask for.
    pub name: String,
    /// Other names of it.
    pub alias: Vec<String>,
    /// Who can answer; at least one.
    pub targets: Vec<TargetName>,
    /// Other models, by name, tried when every target has failed or is out.
    pub fallbacks: Vec<String>,
    /// Tokens that fit; `None`: not stated.
    pub context_window: Option<u64>,
    /// Overrides `resilience.first_token_timeout`.
    pub first_token_timeout: Option<Timeout>,
    /// For `strategy = "weighted"`, one per target, not all zero; empty: all equal.
    pub weights: Vec<f64>,
    /// Overrides `routing.strategy`.
    pub strategy: Option<Strategy>,
}

/// `provider/model`, split at the first slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName {
    /// Name of the provider.
    pub provider: String,
    /// The provider's name for the model; may hold slashes.
    pub model: String,
}

impl TargetName {
    /// Reads `provider/model`; `None` when there is no slash or one side is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, model) = text.split_once('/')?;
        let whole = !provider.is_empty() && !model.is_empty();
        whole.then(|| Self { provider: provider.to_owned(), model: model.to_owned() })
    }
}

impl std::fmt::Display for TargetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// Order of the eligible targets of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Live score plus Gumbel noise.
    #[default]
    Score,
    /// As written.
    Priority,
    /// Random by weight.
    Weighted,
    /// In turn.
    RoundRobin,
}

/// `[routing]`
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// Default order.
    pub strategy: Strategy,
    /// Score points of noise; 0: always the best.
    pub temperature: f64,
    /// How fast old results fade from the success rate.
    pub half_life: Duration,
}

/// A deadline that is given, or learned from the target itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timeout {
    /// From the target's own distribution.
    #[default]
    Auto,
    /// As configured.
    After(Duration),
}

/// When a second target is asked although the first has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hedge {
    /// Never.
    #[default]
    Off,
    /// After the target's own p95 of the first token.
    Auto,
    /// After this long.
    After(Duration),
}

/// What happens to a stream that breaks after content was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rescue {
    /// Another target goes on where the answer broke off, if that can be done honestly.
    #[default]
    Continue,
    /// One error event.
    Error,
}

/// `[resilience]`
#[derive(Debug, Clone, PartialEq)]
pub struct Resilience {
    /// Attempts per client request, over all targets and fallbacks.
    pub max_attempts: u32,
    /// DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// To the first content of a stream.
    pub first_token_timeout: Timeout,
    /// To the head of an answer that is not streamed.
    pub answer_timeout: Timeout,
    /// Silence inside a stream.
    pub stall_timeout: Timeout,
    /// Everything together.
    pub total_timeout: Duration,
    /// Share of recent requests that may be retries (floor 10).
    pub retry_budget: f64,
    /// Longest wait on the asked model before another model is used.
    pub patience: Duration,
    /// What to do with a stream that breaks.
    pub rescue: Rescue,
    /// When a second target is asked at the same time.
    pub hedge: Hedge,
    /// Share of requests that may be hedged.
    pub hedge_budget: f64,
}

/// `[breaker]`
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    /// Hard failures in a row that trip it.
    pub consecutive_failures: u32,
    /// Ratio below which it trips; 0: never.
    pub success_rate: f64,
    /// Over which time the ratio is taken.
    pub window: Duration,
    /// Fewer than this trip nothing by ratio.
    pub min_requests: u32,
    /// First rest after a trip; doubles with each failed probe.
    pub open_min: Duration,
    /// Longest rest.
    pub open_max: Duration,
}

/// `[health]`
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Pause between active probes; `None`: off.
    pub interval: Option<Duration>,
    /// Path below the base URL.
    pub path: String,
}

/// `[slots]`
#[derive(Debug, Clone, PartialEq)]
pub struct Slots {
    /// Requests one user may have in flight, per operation.
    pub per_user: u32,
    /// Waiting requests per user.
    pub queue: u32,
    /// Longest wait.
    pub queue_timeout: Duration,
    /// In flight over all users.
    pub total: u32,
    /// Limit of each operation; it counts instead of `per_user`.
    pub operations: BTreeMap<String, u32>,
}

impl Slots {
    /// Requests one user may have in flight of an operation, by its name.
    pub fn limit(&self, operation: &str) -> u32 {
        self.operations.get(operation).copied().unwrap_or(self.per_user)
    }
}

/// `[limits]`; `None`: no limit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Requests a user may make per minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens a user may use per minute.
    pub tokens_per_minute: Option<u32>,
}

/// Where memories are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Store {
    /// One file beside the gateway.
    #[default]
    Sqlite,
    /// Shared by many gateways.
    Postgres,
}

/// Who turns text into vectors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Embedder {
    /// The table inside the binary.
    #[default]
    Builtin,
    /// A target with an OpenAI-compatible `/embeddings` route.
    OpenAi {
        /// The name of a model, or `provider/model`.
        model: String,
        /// Length of its vectors.
        dimensions: u32,
    },
}

/// Whose words are remembered from chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Capture {
    /// Nobody's.
    Off,
    /// The user's.
    #[default]
    User,
    /// The user's and the model's.
    Both,
}

/// `[memory]`
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// Whether anything is remembered or recalled.
    pub enabled: bool,
    /// Where.
    pub store: Store,
    /// SQLite file.
    pub path: PathBuf,
    /// PostgreSQL URL.
    pub url: Option<Secret>,
    /// Who embeds.
    pub embedder: Embedder,
    /// Tokens of one injected block.
    pub max_tokens: u32,
    /// Items of one injected block.
    pub max_items: u32,
    /// Fused score below which nothing is injected.
    pub min_score: f64,
    /// Hard stop of one recall.
    pub recall_timeout: Duration,
    /// Past it the request goes on without memory.
    pub recall_budget: Duration,
    /// How long a recall is cached.
    pub cache_ttl: Duration,
    /// How many recalls are cached.
    pub cache_entries: u32,
    /// Whose words.
    pub capture: Capture,
    /// Memory for callers without an id.
    pub anonymous: bool,
    /// The stored context at the head of the block.
    pub include_context: bool,
    /// How long memories are kept; `None`: for ever.
    pub retention: Option<Duration>,
    /// Limit of `GET /v1/context`.
    pub get_context_timeout: Duration,
    /// Limit of `PUT` and `PATCH /v1/context`.
    pub update_context_timeout: Duration,
}

/// What limits and slots do while Redis is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Count in this process.
    #[default]
    Local,
    /// Refuse.
    Closed,
}

/// `[redis]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Redis {
    /// `None`: everything is kept in this process.
    pub url: Option<Secret>,
    /// While it is away.
    pub on_error: OnError,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// `[telemetry]`
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// `tracing` filter; `RUST_LOG` overrides it.
    pub log: String,
    /// Shape of a log line.
    pub log_format: LogFormat,
    /// Whether requests are counted for `GET /metrics`.
    pub metrics: bool,
    /// OTLP traces, when set.
    pub otlp_endpoint: Option<url::Url>,
}
