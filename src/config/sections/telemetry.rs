//! `[telemetry]`: what the gateway tells about itself.

use tracing_subscriber::EnvFilter;
use url::Url;

use crate::config::{keyword::keywords, reader::value::Value, section_table::section};

keywords! {
    /// Shape of a log line.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

section! {
    /// `[telemetry]`
    [telemetry] pub struct Telemetry {
        /// `tracing` filter; `RUST_LOG` overrides it.
        log: String = "info", read log_filter;
        /// Shape of a log line.
        log_format: LogFormat = "text";
        /// Whether requests are counted for `GET /metrics`.
        metrics: bool = true;
        /// OTLP traces, when set.
        otlp_endpoint: Option<Url> = "", read endpoint;
    }
}

fn log_filter(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let good = !text.trim().is_empty() && EnvFilter::builder().parse(&text).is_ok();
    if good { Some(text) } else { value.expected(r#"a log filter such as "info" or "info,hyper=warn""#, "") }
}

/// Empty means none.
fn endpoint(value: &Value<'_>) -> Option<Option<Url>> {
    let text = value.text()?;
    if text.is_empty() {
        return Some(None);
    }
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
    let expected = r#"expected an http(s) URL without credentials, such as "http://127.0.0.1:4318""#;
    url.map(Some).or_else(|| value.fail(expected))
}
