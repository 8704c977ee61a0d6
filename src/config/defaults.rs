//! What every key is when the file does not mention it. Only plain values: nothing is computed or read here.
//!
//! The shipped `config.toml` repeats these values for its readers; a test keeps the two equal.

use std::{net::SocketAddr, time::Duration};

use super::{
    Auth, Breaker, Capture, Embedder, Health, Hedge, LogFormat, Memory, Rescue, Resilience, Routing, Server,
    Slots, Store, Strategy, Telemetry, Timeout,
};

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            max_body: 32 << 20,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        let user_headers = ["x-user-id", "x-openwebui-user-id"].map(str::to_owned).to_vec();
        Self { jwt_secret: None, user_headers, keys: Vec::new() }
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self { strategy: Strategy::Score, temperature: 1.0, half_life: Duration::from_secs(60) }
    }
}

impl Default for Resilience {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            connect_timeout: Duration::from_secs(3),
            first_token_timeout: Timeout::Auto,
            answer_timeout: Timeout::Auto,
            stall_timeout: Timeout::Auto,
            total_timeout: Duration::from_secs(600),
            retry_budget: 0.2,
            patience: Duration::from_secs(3),
            rescue: Rescue::Continue,
            hedge: Hedge::Off,
            hedge_budget: 0.05,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_rate: 0.7,
            window: Duration::from_secs(30),
            min_requests: 20,
            open_min: Duration::from_secs(2),
            open_max: Duration::from_secs(20),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(15)), path: "/models".into() }
    }
}

impl Default for Slots {
    fn default() -> Self {
        let operations = [("chat", 10), ("embeddings", 10), ("get_context", 4), ("update_context", 4)];
        Self {
            per_user: 10,
            queue: 20,
            queue_timeout: Duration::from_secs(10),
            total: 1000,
            operations: operations.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            enabled: true,
            store: Store::Sqlite,
            path: "concierge.db".into(),
            url: None,
            embedder: Embedder::Builtin,
            max_tokens: 1024,
            max_items: 20,
            min_score: 0.25,
            recall_timeout: Duration::from_secs(5),
            recall_budget: Duration::from_millis(150),
            cache_ttl: Duration::from_secs(300),
            cache_entries: 10_000,
            capture: Capture::User,
            anonymous: false,
            include_context: false,
            retention: None,
            get_context_timeout: Duration::from_secs(10),
            update_context_timeout: Duration::from_secs(15),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".into(), log_format: LogFormat::Text, metrics: true, otlp_endpoint: None }
    }
}
