//! `concierge demo`: the gateway in front of three simulated providers, without keys, files or network. Memories are
//! stored in a temporary folder that is deleted when the demo stops.
//!
//! One provider is fast, one is slow, and one breaks for 20 s in every minute, each minute in another way. They speak
//! HTTP on ports of their own, so the gateway treats them like any other. Only `app` may use this module, and
//! nothing of it runs unless the command `demo` is given.

mod faults;
mod model_names;
mod paced_body;
mod provider;
mod request;
mod response;
mod traffic;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{net::TcpListener, time::Instant};

pub use self::traffic::start_traffic;
use self::{
    faults::Schedule,
    model_names::{CHAT_MODEL, EMBEDDING_MODEL},
    provider::DemoProvider,
};
use crate::{
    config::{self, Loaded},
    tasks::Tasks,
};

/// The settings from the command line.
#[derive(Debug, Clone)]
pub struct DemoSettings {
    /// The address the gateway listens on.
    pub listen: SocketAddr,
}

/// A demo whose simulated providers are listening.
pub struct Demo {
    /// The configuration of the gateway in front of them.
    pub loaded: Loaded,
    /// The folder of its memories; dropping it deletes them.
    pub memories: TempDir,
}

/// Starts the simulated providers and makes the configuration of a gateway in front of them.
///
/// # Errors
/// One sentence: an address beyond this machine (the demo has no keys), no free port, or no space for temporary files.
pub async fn start(settings: &DemoSettings, tasks: &Tasks) -> Result<Demo, String> {
    let listen = settings.listen;
    if !listen.ip().to_canonical().is_loopback() {
        let port = listen.port();
        return Err(format!(
            "the demo has no keys and so does not listen on {listen}, which other machines can reach; use 127.0.0.1:{port}"
        ));
    }
    let mut ports = [0; 3];
    for (port, provider) in ports.iter_mut().zip(providers(Instant::now())) {
        *port =
            open(provider, tasks).await.map_err(|error| format!("a demo provider cannot start: {error}"))?;
    }
    let memories = tempfile::Builder::new().prefix("concierge-demo-").tempdir();
    let memories = memories.map_err(|error| format!("the demo cannot create temporary files: {error}"))?;
    let text = configuration(listen, ports, &memories.path().join("concierge.db"));
    let loaded = config::parse("demo", &text, &|_| None).map_err(|problems| problems.to_string())?;
    Ok(Demo { loaded, memories })
}

fn providers(now: Instant) -> [DemoProvider; 3] {
    let millis = Duration::from_millis;
    [
        DemoProvider { first_token: millis(80), gap: millis(15), breaks: None },
        DemoProvider { first_token: millis(600), gap: millis(40), breaks: None },
        DemoProvider { first_token: millis(90), gap: millis(20), breaks: Some(Schedule::from(now)) },
    ]
}

/// Starts `provider` and returns its port.
async fn open(provider: DemoProvider, tasks: &Tasks) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tasks.spawn_until_shutdown(provider::serve(listener, provider, tasks.clone()));
    Ok(port)
}

/// A configuration as a user would write it. It fades scores and checks health quickly, so that changes show, and
/// logs little, because three requests a second would fill the terminal.
fn configuration(listen: SocketAddr, [fast, slow, flaky]: [u16; 3], memories: &Path) -> String {
    format!(
        r#"
[server]
listen = "{listen}"
drain_timeout = "5s"

[[providers]]
name = "fast"
base_url = "http://127.0.0.1:{fast}/v1"
prefill = "assistant"

[[providers]]
name = "slow"
base_url = "http://127.0.0.1:{slow}/v1"
prefill = "assistant"

[[providers]]
name = "flaky"
base_url = "http://127.0.0.1:{flaky}/v1"
prefill = "assistant"

[[models]]
name = "{CHAT_MODEL}"
alias = ["gpt-4o", "gpt-4o-mini"]
targets = ["fast/{CHAT_MODEL}", "slow/{CHAT_MODEL}", "flaky/{CHAT_MODEL}"]

[[models]]
name = "{EMBEDDING_MODEL}"
alias = ["text-embedding-3-small"]
targets = ["fast/{EMBEDDING_MODEL}", "slow/{EMBEDDING_MODEL}", "flaky/{EMBEDDING_MODEL}"]

[routing]
half_life = "10s"

[breaker]
open_max = "5s"

[health]
interval = "5s"

[memory]
path = {memories:?}

[telemetry]
log = "warn"
"#
    )
}

#[cfg(test)]
mod tests;
