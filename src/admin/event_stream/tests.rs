//! The stream of events, on a paused clock.

use futures_util::StreamExt;
use tokio::{task::yield_now, time::advance};

use super::*;
use crate::{
    admin::test_support::{fail, snapshot},
    upstream::exchange::outcome::{HardKind, Outcome},
};

fn reload(message: &str) -> Event {
    Event::Reload { ok: true, message: message.to_owned() }
}

async fn next(stream: &mut (impl Stream<Item = Bytes> + Unpin)) -> String {
    String::from_utf8(stream.next().await.unwrap().to_vec()).unwrap()
}

/// Name and data of a frame.
fn parsed(frame: &str) -> (String, serde_json::Value) {
    let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
    (name.to_owned(), serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn events_are_framed_and_kept_on_one_line() {
    let events = Events::new();
    let mut stream = Box::pin(stream(&events, CancellationToken::new()));
    assert_eq!(next(&mut stream).await, ": watching\n\n");
    events.publish(|| reload("two\nlines\n\nevent: forged"));
    let frame = next(&mut stream).await;
    assert_eq!(frame.lines().count(), 3, "{frame:?}");
    let (name, data) = parsed(&frame);
    assert_eq!((name.as_str(), &data["event"]), ("reload", &json!("reload")));
    assert_eq!(data["message"], "two\nlines\n\nevent: forged");
    assert!(humantime::parse_rfc3339(data["at"].as_str().unwrap()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn silence_is_kept_alive_every_fifteen_seconds() {
    let mut stream = Box::pin(stream(&Events::new(), CancellationToken::new()));
    next(&mut stream).await;
    // The broadcast has no sender any more, so the stream ends instead.
    assert!(stream.next().await.is_none());

    let events = Events::new();
    let mut stream = Box::pin(super::stream(&events, CancellationToken::new()));
    next(&mut stream).await;
    let before = tokio::time::Instant::now();
    assert_eq!(next(&mut stream).await, ": keep-alive\n\n");
    assert_eq!(before.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_is_told_what_it_missed_and_goes_on() {
    let events = Events::new();
    let mut stream = Box::pin(stream(&events, CancellationToken::new()));
    next(&mut stream).await;
    (0..1100).for_each(|i| events.publish(|| reload(&i.to_string())));
    let (name, data) = parsed(&next(&mut stream).await);
    assert_eq!((name.as_str(), &data["missed"]), ("lagged", &json!(76)));
    assert_eq!(parsed(&next(&mut stream).await).1["message"], "76");
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_process_and_nobody_watches_then() {
    let (events, shutdown) = (Events::new(), CancellationToken::new());
    let mut stream = Box::pin(stream(&events, shutdown.clone()));
    next(&mut stream).await;
    assert!(events.is_watched());
    shutdown.cancel();
    assert!(stream.next().await.is_none());
    drop(stream);
    assert!(!events.is_watched());
}

/// All pending score events, as `id score share`.
fn scores(receiver: &mut Receiver<Stamped>) -> Vec<String> {
    std::iter::from_fn(|| receiver.try_recv().ok())
        .filter_map(|stamped| match stamped.event {
            Event::Score { target, score, share } => Some(format!("{target} {score:.0} {share:.1}")),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn only_scores_that_moved_are_told_and_only_to_somebody() {
    let events = Events::new();
    let targets = Arc::new(snapshot(&events));
    let current = targets.clone();
    let scene = move || OperatorSample { snapshot: current.clone(), in_flight: 0, waiting: 0 };
    let mut task = Box::pin(run(events.clone(), Arc::default(), scene));
    let mut look = async || {
        for _ in 0..2 {
            assert!(futures_util::poll!(&mut task).is_pending());
            yield_now().await;
            advance(LOOK).await;
        }
    };
    look().await;
    let mut watcher = events.watch();
    look().await;
    assert_eq!(scores(&mut watcher), ["fast/big 100 0.5", "fast/small 100 0.5", "slow/org/big 100 0.5"]);
    look().await;
    assert!(scores(&mut watcher).is_empty(), "nothing moved");
    fail(&targets, "fast/big", Outcome::Hard(HardKind::Connect), 1);
    look().await;
    // The others' scores do not change, but they take over the share of the one that failed.
    assert_eq!(scores(&mut watcher), ["fast/small 100 1.0", "slow/org/big 100 1.0", "fast/big 80 0.0"]);
    drop(watcher);
    look().await;
    let mut next = events.watch();
    look().await;
    assert_eq!(scores(&mut next).len(), 3, "a new watcher knows nothing yet");
}

/// All pending ticks.
fn ticks(receiver: &mut Receiver<Stamped>) -> Vec<(usize, usize, u64)> {
    std::iter::from_fn(|| receiver.try_recv().ok())
        .filter_map(|stamped| match stamped.event {
            Event::Tick { in_flight, waiting, attempts } => Some((in_flight, waiting, attempts)),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn figures_are_told_when_they_change_and_at_most_once_a_second() {
    let events = Events::new();
    let targets = Arc::new(snapshot(&events));
    let busy = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (current, in_flight) = (targets.clone(), busy.clone());
    let scene = move || OperatorSample {
        snapshot: current.clone(),
        in_flight: in_flight.load(std::sync::atomic::Ordering::Relaxed),
        waiting: 0,
    };
    let history = Arc::new(History::default());
    let mut task = Box::pin(run(events.clone(), history.clone(), scene));
    let mut watcher = events.watch();
    let mut seconds = async |count: u32| {
        for _ in 0..2 * count {
            assert!(futures_util::poll!(&mut task).is_pending());
            yield_now().await;
            advance(LOOK).await;
        }
    };
    seconds(3).await;
    assert_eq!(ticks(&mut watcher), [(0, 0, 0)], "nothing changed after the first");
    busy.store(4, std::sync::atomic::Ordering::Relaxed);
    fail(&targets, "fast/big", Outcome::Hard(HardKind::Connect), 1);
    seconds(1).await;
    assert_eq!(ticks(&mut watcher), [(4, 0, 1)]);
    seconds(3).await;
    assert_eq!(ticks(&mut watcher), [(4, 0, 1); 3], "requests in flight move on");
    busy.store(0, std::sync::atomic::Ordering::Relaxed);
    seconds(3).await;
    assert_eq!(ticks(&mut watcher), [(0, 0, 1)]);
    drop(watcher);
    seconds(10).await;
    assert!(history.samples("fast/big").len() >= 2, "it is sampled whether anybody watches or not");
}
