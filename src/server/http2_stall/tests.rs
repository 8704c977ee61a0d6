use tokio::time::{advance, timeout};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_mute_after_exactly_so_long() {
    let reader = StallReader::default();
    reader.given();
    let begun = Instant::now();
    reader.is_stalled(PATIENCE).await;
    assert_eq!(begun.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_us_or_takes_a_little_is_not() {
    let reader = Arc::new(StallReader::default());
    assert!(timeout(secs(3600), reader.is_stalled(PATIENCE)).await.is_err(), "nothing was given");
    let sipping = reader.clone();
    let sip = async move {
        for _ in 0..10 {
            sipping.given();
            advance(secs(29)).await;
        }
        sipping.waits();
    };
    select! {
        () = reader.is_stalled(PATIENCE) => panic!("it took something every 29 s"),
        () = sip => {}
    }
    assert!(timeout(secs(3600), reader.is_stalled(PATIENCE)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_clock_runs_from_what_was_given_last() {
    let reader = StallReader::default();
    let late = async {
        tokio::time::sleep(secs(29)).await;
        reader.given();
        Instant::now()
    };
    let (given, ()) = tokio::join!(late, reader.is_stalled(PATIENCE));
    assert_eq!(given.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_is_mute_is_dropped_and_others_are_not() {
    let streams = Streams::new(Tasks::new(), PATIENCE);
    let (alive, mute) = (Arc::new(()), Arc::new(()));
    for (held, takes) in [(alive.clone(), true), (mute.clone(), false)] {
        streams.execute(async move {
            let reader = StallReader::current().unwrap();
            reader.given();
            if takes {
                reader.waits();
            }
            std::future::pending::<()>().await;
            drop(held);
        });
    }
    tokio::time::sleep(secs(31)).await;
    assert_eq!((Arc::strong_count(&alive), Arc::strong_count(&mute)), (2, 1));
    assert!(StallReader::current().is_none(), "nobody's stream");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_so_long_after_its_last_stream() {
    let streams = Streams::new(Tasks::new(), PATIENCE);
    let begun = Instant::now();
    streams.are_idle(secs(75)).await;
    assert_eq!(begun.elapsed(), secs(75), "it never had one");
    // Two that overlap, the longer one for 200 s.
    for length in [10, 200] {
        streams.execute(tokio::time::sleep(secs(length)));
    }
    streams.are_idle(secs(75)).await;
    assert_eq!(begun.elapsed(), secs(75 + 200 + 75));
}
