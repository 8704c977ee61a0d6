//! R3 and L4: a link is lost without FIN or RST, and a name moves to another address. Each test runs in its own network
//! namespace, with a provider behind a link that can be pulled; where that is not possible, it is skipped with a message.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use concierge_testkit::{
    Call, Client, ConfigFile, FakeProvider, Script, eventually,
    fake_h2::H2Provider,
    link::{self, Link},
    ms,
    openai::{SIXTY, ask, ask_stream, sane},
    tls::Authority,
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::setup::{Load, errors, gateway, launch, many};

/// The deadline of an attempt in these tests: the cost of a dead connection to a request, once.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time for the other target to answer, on a busy machine.
const SLACK: Duration = Duration::from_millis(1500);
/// The longest that a dead connection is waited for where there is no deadline: a ping every 20 s,
/// answered within 10 s; the kernel's limit is shorter. And a second.
const GIVEN_UP: Duration = Duration::from_secs(31);

/// `a` behind the link and `b` on this side, `a` first; a breaker and deadlines of a second.
fn pair(a: &str, b: &FakeProvider) -> ConfigFile {
    ConfigFile::quick()
        .provider_at("a", a, "")
        .provider("b", b)
        .model("m", &["a/m", "b/m"])
        .set("slots", "per_user", "100")
}

/// One request and its result.
#[derive(Debug)]
struct Asked {
    sent: Instant,
    took: Duration,
    good: bool,
    target: String,
}

/// Lanes of chats, streamed and whole in turns, each marked with a number that the provider sees.
struct Lanes {
    lanes: JoinSet<()>,
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Lanes {
    fn start(client: &Client, begun: Instant) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut lanes = JoinSet::new();
        for lane in 0..6 {
            lanes.spawn(run(client.clone(), lane % 2 == 0, begun, Arc::clone(&stop), Arc::clone(&asked)));
        }
        Self { lanes, stop, asked }
    }

    async fn stop(mut self) -> Vec<Asked> {
        self.stop.store(true, SeqCst);
        while let Some(lane) = self.lanes.join_next().await {
            lane.expect("no lane panics");
        }
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn run(
    client: Client,
    streams: bool,
    begun: Instant,
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    while !stop.load(SeqCst) {
        let sent = Instant::now();
        let mut body = if streams { ask_stream("m") } else { ask("m") };
        body["sent_ms"] = json!((sent - begun).as_millis() as u64);
        let (text, whole, target) = if streams {
            let heard = client.stream(&body).await;
            (heard.text(), heard.done(), heard.header("x-concierge-target").to_owned())
        } else {
            let reply = client.chat(&body).await;
            let whole = reply.code() == 200;
            (
                if whole { reply.text() } else { String::new() },
                whole,
                reply.header("x-concierge-target").to_owned(),
            )
        };
        let asked_now = Asked { sent, took: sent.elapsed(), good: whole && text == SIXTY, target };
        asked.lock().unwrap().push(asked_now);
        sleep(ms(20)).await;
    }
}

/// No errors, no request over its deadline, and those sent after the failure was detected are as quick as ever.
fn nobody_noticed(asked: &[Asked], dark: Instant) {
    let bad: Vec<_> = asked.iter().filter(|a| !a.good).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let slowest = asked.iter().map(|a| a.took).max().unwrap();
    assert!(slowest < PATIENCE + SLACK, "{slowest:?}");
    let after: Vec<_> = asked.iter().filter(|a| a.sent > dark + PATIENCE + SLACK).collect();
    let slow = after.iter().filter(|a| a.took > ms(500)).count();
    // A half-open probe from time to time costs one request the connect timeout.
    assert!(after.len() > 50 && slow * 10 < after.len(), "{slow} of {} were slow", after.len());
    assert!(after.iter().all(|a| a.target == "b/m"), "the dark one answered");
}

/// Load on both; the link is pulled and plugged in again. Returns when it was pulled, in the lanes' time.
async fn in_the_dark(link: &Link, gw: &concierge_testkit::Gateway, begun: Instant) -> Duration {
    let lanes = Lanes::start(&gw.client(), begun);
    let warm = || async { (gw.target("a/m").await["success_count"].as_u64() > Some(50)).then_some(()) };
    eventually("a serves", Duration::from_secs(10), warm).await;
    link.pull();
    let dark = Instant::now();
    sleep(ms(6000)).await;
    let asked = lanes.stop().await;
    nobody_noticed(&asked, dark);
    link.plug();
    dark - begun
}

#[test]
fn an_http1_connection_into_the_dark_is_left_and_never_used_again() {
    link::alone(
        "gateway::network_loss::an_http1_connection_into_the_dark_is_left_and_never_used_again",
        || async {
            let link = Link::new();
            let (a, b) = (FakeProvider::start_behind(&link).await, FakeProvider::start().await);
            let gw = gateway(&pair(&a.base_url(), &b)).await;
            // More connections than the lanes use: the rest are idle when the link is lost, and must be closed as well.
            a.script(|request| sane(request, SIXTY).head_after(ms(300)));
            let client = gw.client();
            many(20, 20, move |_| {
                let client = client.clone();
                async move { assert_eq!(client.chat(&ask("m")).await.code(), 200) }
            })
            .await;
            a.heal();
            let begun = Instant::now();
            let dark = in_the_dark(&link, &gw, begun).await;
            let connections = a.calls().iter().map(|call| call.connection).max().unwrap();
            let again = async || {
                let reply = gw.client().chat(&ask("m")).await;
                (reply.header("x-concierge-target") == "a/m").then_some(())
            };
            eventually("a is back", Duration::from_secs(10), again).await;
            // What was sent into the lost link arrives now, if at all; no later request may.
            sleep(ms(1000)).await;
            let known = (dark + PATIENCE + SLACK).as_millis() as u64;
            let later = |call: &Call| call.json()["sent_ms"].as_u64().is_none_or(|sent| sent > known);
            let reused =
                |call: &&Call| call.at > begun + dark && call.connection <= connections && later(call);
            let calls = a.calls();
            let reused: Vec<_> = calls.iter().filter(reused).collect();
            assert!(reused.is_empty(), "{reused:?}");
        },
    );
}

#[test]
fn an_http2_connection_into_the_dark_is_left_and_never_used_again() {
    link::alone(
        "gateway::network_loss::an_http2_connection_into_the_dark_is_left_and_never_used_again",
        || async {
            let link = Link::new();
            let authority = Authority::new();
            let a = H2Provider::start_behind(&link, &authority, ms(1)).await;
            let b = FakeProvider::start().await;
            let roots = authority.root_file().display().to_string();
            let gw = launch().env("SSL_CERT_FILE", &roots).start(pair(&a.base_url(), &b).toml()).await;
            in_the_dark(&link, &gw, Instant::now()).await;
            let connections = a.connections();
            let again = async || {
                let reply = gw.client().chat(&ask("m")).await;
                (reply.header("x-concierge-target") == "a/m").then_some(())
            };
            eventually("a is back", Duration::from_secs(10), again).await;
            assert!(a.connections() > connections, "over a connection from before");
        },
    );
}

/// Without another target an answer may take all the time, which is ten minutes; a dead connection may not.
#[test]
fn where_nobody_else_can_be_asked_a_dark_connection_is_given_up_all_the_same() {
    link::alone(
        "gateway::network_loss::where_nobody_else_can_be_asked_a_dark_connection_is_given_up_all_the_same",
        || async {
            let link = Link::new();
            let authority = Authority::new();
            let h1 = FakeProvider::start_behind(&link).await;
            let h2 = H2Provider::start_behind(&link, &authority, ms(1)).await;
            let config = ConfigFile::quick()
                .provider_at("h1", &h1.base_url(), "")
                .provider_at("h2", &h2.base_url(), "")
                .model("waiting", &["h1/waiting"])
                .model("idle", &["h1/idle"])
                .model("multiplexed", &["h2/m"]);
            let config =
                config.unset("resilience", "answer_timeout").unset("resilience", "first_token_timeout");
            let roots = authority.root_file().display().to_string();
            let gw = launch().env("SSL_CERT_FILE", &roots).start(config.toml()).await;
            let client = gw.client();
            for model in ["idle", "multiplexed"] {
                assert_eq!(client.chat(&ask(model)).await.code(), 200);
            }
            let mut asked = JoinSet::new();
            h1.for_model("waiting", |request| sane(request, SIXTY).head_after(Duration::from_secs(3600)));
            // The first uses the existing connection; the second needs another, and leaves it idle.
            let ask = |model: &'static str| {
                let client = client.clone();
                async move { (model, client.chat(&ask(model)).await) }
            };
            asked.spawn(ask("waiting"));
            h1.wait_calls(2).await;
            assert_eq!(ask("idle").await.1.code(), 200);
            link.pull();
            let dark = Instant::now();
            asked.spawn(ask("idle"));
            asked.spawn(ask("multiplexed"));
            while let Some(ended) = asked.join_next().await {
                let (model, reply) = ended.unwrap();
                assert!(matches!(reply.code(), 502..=504), "{model}: {reply:?}");
                assert!(dark.elapsed() < GIVEN_UP + SLACK, "{model}: {:?}", dark.elapsed());
            }
        },
    );
}

/// L4: the name moves to another address, and traffic follows within a minute without a pause in the load.
#[test]
fn a_name_that_moves_is_followed_under_load() {
    link::alone("gateway::network_loss::a_name_that_moves_is_followed_under_load", || async {
        let hosts = tempfile::NamedTempFile::new().unwrap();
        let lead_to = |ip: &str| {
            std::fs::write(hosts.path(), format!("127.0.0.1 localhost\n{ip} provider.test\n")).unwrap();
        };
        lead_to("127.0.0.2");
        link::replace_file("/etc/hosts", hosts.path());
        let at = |last: u8| FakeProvider::start_at(SocketAddr::from(([127, 0, 0, last], 8001)));
        let (old, new) = (at(2).await, at(3).await);
        let config =
            ConfigFile::quick().provider_at("a", "http://provider.test:8001/v1", "").model("m", &["a/m"]);
        let gw = gateway(&config).await;
        for provider in [&old, &new] {
            provider.script(|request| sane(request, SIXTY).head_after(ms(20)));
        }
        let load = Load::start(&gw.client(), 4, ms(20));
        old.wait_calls(20).await;
        lead_to("127.0.0.3");
        let followed = || async {
            old.clear();
            sleep(ms(500)).await;
            (old.calls().is_empty() && !new.calls().is_empty()).then_some(())
        };
        eventually("the new address has all of it", Duration::from_secs(60), followed).await;
        old.always(Script::status(500, "{}"));
        sleep(ms(500)).await;
        let samples = load.stop().await;
        assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
    });
}
